package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// firstTitle is the title until a model has made one: six words, 80 characters.
func firstTitle(parts []part) string {
	words := strings.Fields(flatten(parts, nil))
	if len(words) == 0 {
		return "New Chat"
	}
	title := strings.Join(words, " ")
	if len(words) > 6 {
		title = strings.Join(words[:6], " ") + "…"
	}
	if r := []rune(title); len(r) > 80 {
		title = string(r[:80])
	}
	return title
}

// autoTitle replaces the first title as soon as the model has one. It comes
// from the chat as it was: it overwrites a rename made meanwhile, and its event
// says `running` whatever the chat does by then (05/068). The lock is held.
func (s *Server) autoTitle(c *chat) {
	prompt, _ := c.lastExchange()
	c.requests++
	if strings.Contains(prompt, "NOTITLE") {
		return
	}
	wait := s.scaled(10*time.Millisecond + titleDelay(prompt))
	s.spawn(func() {
		if !pause(s.ctx, wait) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		title := s.titleOf(c, prompt)
		if title == "" || title == c.title {
			return
		}
		c.title = title
		v := s.view(c)
		v.Status = statusRunning
		s.announceAs("title_change", c, v)
	})
}

// titleDelay is how long the title's model is told to take: SLOWTITLE ms.
func titleDelay(prompt string) time.Duration {
	_, rest, found := strings.Cut(prompt, "SLOWTITLE ")
	if !found {
		return 0
	}
	ms, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return time.Duration(ms) * time.Millisecond
}

func (s *Server) titleOf(c *chat, prompt string) string {
	if t := s.storyTitle(c, prompt); t != "" {
		return t
	}
	var words []string
	for _, w := range strings.Fields(prompt) {
		if w = strings.Trim(w, "[](){}`"); w != "" && len(words) < 4 {
			words = append(words, w)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "Fake title: " + strings.Join(words, " ")
}

// regenerateTitle serves POST /chats/{chat}/title/regenerate, which waits for
// the model.
func (s *Server) regenerateTitle(c *call) *apiError {
	if c.chat.owner.ID != c.user.ID {
		return ownerOnly("regenerate the title")
	}
	if s.options.UsageLimit != nil {
		return s.overSpent()
	}
	s.mu.Lock()
	if c.chat.retitling && s.gen.titleLock {
		s.mu.Unlock()
		return conflict("Title regeneration already in progress for this chat.", "")
	}
	other := c.chat.retitling
	c.chat.retitling = true
	s.mu.Unlock()
	title, err := s.thinkOfTitle(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !other {
		c.chat.retitling = false
	}
	if err != nil {
		err.Message = "Failed to regenerate chat title."
		return err
	}
	if !other { // of two at once, the later takes the earlier one's title (08/064)
		s.setTitle(c.chat, title)
	}
	c.reply(http.StatusOK, s.view(c.chat))
	return nil
}

// proposeTitle serves POST /chats/{chat}/title/propose: a title that is not stored.
func (s *Server) proposeTitle(c *call) *apiError {
	if c.chat.owner.ID != c.user.ID {
		return ownerOnly("propose a title")
	}
	title, err := s.thinkOfTitle(c)
	if err != nil {
		err.Message = "Failed to propose chat title."
		return err
	}
	c.reply(http.StatusOK, map[string]string{"title": title})
	return nil
}

func (s *Server) thinkOfTitle(c *call) (string, *apiError) {
	s.mu.Lock()
	prompt, wait := c.chat.titlePrompt()
	s.mu.Unlock()
	if !pause(c.r.Context(), s.scaled(wait)) {
		return "", &apiError{status: http.StatusInternalServerError, Detail: "context canceled"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modelCalls++
	c.chat.requests++
	if strings.Contains(prompt, "NOTITLE") {
		return "", &apiError{
			status: http.StatusInternalServerError,
			Detail: "generate manual title: generate structured title: tool-based generation failed: bad request: no title for you",
		}
	}
	title := s.titleOf(c.chat, prompt)
	if title == "" {
		title = c.chat.title
	}
	if !s.options.StableTitles && s.storyTitle(c.chat, prompt) == "" {
		title = fmt.Sprintf("%s regen%d", title, s.modelCalls)
	}
	return title, nil
}

// titlePrompt is what a title is made of: the last prompt, but any of them may
// forbid one.
func (c *chat) titlePrompt() (string, time.Duration) {
	prompt, wait := "", 10*time.Millisecond
	for _, m := range slices.Backward(c.messages) {
		if m.Role != "user" || m.contextRow() {
			continue
		}
		text := flatten(m.Content, nil)
		wait = max(wait, titleDelay(text))
		if prompt == "" || strings.Contains(text, "NOTITLE") {
			prompt = text
		}
	}
	return prompt, wait
}

// summarizeTurn labels the turn that just ended, some milliseconds later and
// from the chat as it is now: the event can carry an old title (05/068). The
// lock is held.
func (s *Server) summarizeTurn(c *chat) {
	v := s.view(c)
	answer := c.lastAnswer()
	prompt, _ := c.lastExchange()
	label := "Fake status label"
	switch {
	case answer == "" || strings.Contains(c.title+answer, "NOTITLE"):
		label = "Finished latest turn"
	case s.storyTitle(c, prompt) != "":
		label = "Finished: " + s.storyTitle(c, prompt)
	}
	if c.parent != nil && !s.gen.subSummaries {
		return // May's sub-agents have no label (05/035)
	}
	wait := s.scaled(summaryDelay + titleDelay(c.title))
	ended := c.version
	s.spawn(func() {
		if !pause(s.ctx, wait) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		c.requests++
		if c.version != ended { // another turn has begun
			return
		}
		if c.parent != nil {
			text := strings.TrimSpace(answer)
			c.summary, v.Summary = &text, encode(text)
			s.announceAs("chat_summary_change", c, v)
			return
		}
		c.turnSummary, v.LastTurnSummary = &label, &label
		s.announceAs("summary_change", c, v)
	})
}

func (c *chat) lastAnswer() string {
	for _, m := range slices.Backward(c.messages) {
		switch m.Role {
		case "assistant":
			return m.prompt()
		case "user":
			return ""
		}
	}
	return ""
}

// setSummary labels the chat at once; "" is no label.
func (s *Server) setSummary(c *chat, label string) {
	was := c.turnSummary
	c.turnSummary = nil
	if label != "" {
		c.turnSummary = &label
	}
	unchanged := was == c.turnSummary || was != nil && c.turnSummary != nil && *was == *c.turnSummary
	if unchanged && !s.gen.watchRunning {
		return
	}
	s.announce("summary_change", c)
}

// clearSummary follows a turn without an answer.
func (s *Server) clearSummary(c *chat) { s.setSummary(c, "") }
