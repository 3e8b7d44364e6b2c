package replay

import (
	"fmt"
	"slices"
	"strings"
)

// streamItem is one event of a chat's stream, or a run of the same parts, with a name that says its kind.
type streamItem struct {
	name  string
	event map[string]any
	text  string // of a run of text parts
}

// streamItems flattens frames into events; how events are batched into frames is free. whole is false when a frame was
// cut by the recorder: what follows is unknown.
func streamItems(frames [][]byte) (items []streamItem, whole bool) {
	for _, frame := range frames {
		batch, err := decode(frame)
		if err != nil {
			return items, false
		}
		events, ok := batch.([]any)
		if !ok {
			items = append(items, streamItem{name: "not an array"})
			continue
		}
		for _, e := range events {
			event, _ := e.(map[string]any)
			item := streamItem{name: eventName(event), event: event}
			if part, ok := partOf(event); ok {
				text, _ := part["text"].(string)
				delta, _ := part["args_delta"].(string)
				item.text = text + delta
				if last := len(items) - 1; last >= 0 && items[last].name == item.name {
					items[last].text += item.text
					continue
				}
			}
			items = append(items, item)
		}
	}
	return items, true
}

func eventName(event map[string]any) string {
	kind, _ := event["type"].(string)
	payload, _ := event[kind].(map[string]any)
	switch kind {
	case "status":
		return fmt.Sprint("status ", payload["status"])
	case "message":
		return fmt.Sprint("message ", payload["role"])
	case "message_part":
		part, _ := partOf(event)
		return fmt.Sprint("parts ", payload["role"], " ", part["type"])
	case "queue_update":
		queued, _ := event["queued_messages"].([]any)
		return fmt.Sprint("queue_update ", len(queued))
	}
	return kind
}

func partOf(event map[string]any) (map[string]any, bool) {
	payload, _ := event["message_part"].(map[string]any)
	part, ok := payload["part"].(map[string]any)
	return part, ok
}

// compareStream compares what two streams of a chat said.
func (c *comparer) compareStream(recorded, live [][]byte) error {
	want, whole := streamItems(recorded)
	got, _ := streamItems(live)
	if !whole {
		got = got[:min(len(got), len(want))]
	}
	if c.generation == may {
		return c.compareMayStream(want, got)
	}
	return c.compareItems(august2026(want), august2026(got))
}

// august2026 brings what is free in August into one form: parts go on while messages are queued, and after the last
// message preview_reset and waiting come in either order (08/082: to one of two streams so, to the other so).
func august2026(items []streamItem) []streamItem {
	var kept []streamItem
	for _, item := range attemptBegun(items) {
		last := len(kept) - 1
		for last >= 0 && strings.HasPrefix(kept[last].name, "queue_update") {
			last--
		}
		if strings.HasPrefix(item.name, "parts ") && last >= 0 && kept[last].name == item.name {
			kept[last].text += item.text
			continue
		}
		if n := len(kept); item.name == "preview_reset" && n > 1 && kept[n-1].name == "status waiting" && kept[n-2].name == "message assistant" {
			kept = append(kept[:n-1], item, kept[n-1])
			continue
		}
		kept = append(kept, item)
	}
	return kept
}

// attemptBegun leaves free whether a stream was opened before or after the model was asked: before it, a
// preview_reset follows on that of the snapshot.
func attemptBegun(items []streamItem) []streamItem {
	i := slices.IndexFunc(items, func(item streamItem) bool { return item.name == "preview_reset" })
	if i < 1 || items[i-1].name != "status running" || i+1 == len(items) || items[i+1].name != "preview_reset" {
		return items
	}
	return slices.Delete(slices.Clone(items), i, i+1)
}

func names(items []streamItem) string {
	list := make([]string, len(items))
	for i, item := range items {
		list[i] = item.name
	}
	return strings.Join(list, ", ")
}

func (c *comparer) compareItems(want, got []streamItem) error {
	for i := range min(len(want), len(got)) {
		if want[i].name != got[i].name {
			return fmt.Errorf("event %d: want %s, got %s (want [%s], got [%s])", i, want[i].name, got[i].name, names(want), names(got))
		}
		if err := c.item(want[i], got[i]); err != nil {
			return fmt.Errorf("event %d, %s: %w", i, want[i].name, err)
		}
	}
	if len(want) != len(got) {
		return fmt.Errorf("want %d events, got %d (want [%s], got [%s])", len(want), len(got), names(want), names(got))
	}
	return nil
}

func (c *comparer) item(want, got streamItem) error {
	if _, isPart := partOf(want.event); !isPart {
		return c.json(want.event, got.event)
	}
	if chunkText.MatchString(want.text) && chunkText.MatchString(got.text) {
		return c.json(withoutText(want.event), withoutText(got.event)) // how far it came is compared in the message
	}
	if c.generation == august && !c.pattern(want.text, got.text) {
		return fmt.Errorf("want text %s, got %s", brief(want.text), brief(got.text))
	}
	return c.json(withoutText(want.event), withoutText(got.event))
}

// withoutText leaves the text of a part to the comparison of the whole run: where the model's chunks begin and end is
// free.
func withoutText(event map[string]any) map[string]any {
	part, ok := partOf(event)
	if !ok {
		return event
	}
	payload, _ := event["message_part"].(map[string]any)
	part, payload, event = shallow(part), shallow(payload), shallow(event)
	part["text"] = ""
	if _, ok := part["args_delta"]; ok {
		part["args_delta"] = ""
	}
	payload["part"] = part
	event["message_part"] = payload
	return event
}

func shallow(m map[string]any) map[string]any {
	c := make(map[string]any, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// compareMayStream knows what is free in May (SEMANTICS-2026-05 5): a status comes twice or out of order, the last
// message after waiting, parts after their message or never, and an edit sends messages again. So messages, statuses,
// queue and parts are compared each for itself.
func (c *comparer) compareMayStream(want, got []streamItem) error {
	for _, lane := range []struct {
		name string
		of   func([]streamItem) []streamItem
	}{{"messages", mayMessages}, {"statuses", mayStatuses}, {"queue", mayQueue}} {
		if err := c.compareItems(lane.of(want), lane.of(got)); err != nil {
			return fmt.Errorf("%s: %w", lane.name, err)
		}
	}
	parts := mayParts(got)
	for name, item := range mayParts(want) {
		other, ok := parts[name]
		if !ok {
			return fmt.Errorf("no %s", name)
		}
		if err := c.item(anyCall(item), anyCall(other)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil // parts get lost (05/055): those that the recorder never saw are free
}

// anyCall leaves out of which call a part of May is: the parts of another may have got lost.
func anyCall(item streamItem) streamItem {
	event := withoutText(item.event)
	if part, ok := partOf(event); ok && part["tool_call_id"] != nil {
		part["tool_call_id"] = ""
	}
	item.event = event
	return item
}

func mayMessages(items []streamItem) []streamItem {
	var kept []streamItem
	seen := map[string]bool{}
	for _, item := range items {
		kind, _, _ := strings.Cut(item.name, " ")
		if slices.Contains([]string{"status", "parts", "queue_update"}, kind) {
			continue
		}
		if payload, ok := item.event["message"].(map[string]any); ok {
			id := fmt.Sprint(payload["id"])
			if seen[id] {
				continue
			}
			seen[id] = true
		}
		kept = append(kept, item)
	}
	return kept
}

func mayStatuses(items []streamItem) []streamItem {
	var kept []streamItem
	for _, item := range items {
		if !strings.HasPrefix(item.name, "status ") || item.name == "status pending" {
			continue
		}
		if last := len(kept) - 1; last < 0 || kept[last].name != item.name {
			kept = append(kept, item)
		}
	}
	return kept
}

func mayQueue(items []streamItem) []streamItem {
	kept := []streamItem{}
	last := "queue_update 0"
	for _, item := range items {
		if strings.HasPrefix(item.name, "queue_update ") && item.name != last {
			kept = append(kept, item)
			last = item.name
		}
	}
	return kept
}

func mayParts(items []streamItem) map[string]streamItem {
	parts := map[string]streamItem{}
	for _, item := range items {
		if _, ok := parts[item.name]; !ok && strings.HasPrefix(item.name, "parts ") {
			parts[item.name] = item
		}
	}
	return parts
}

// watchEvent is one event of a user's watch.
type watchEvent struct {
	kind, status string
	chat         string
	event        map[string]any
}

func watchEvents(frames [][]byte, mine func(chat string) bool) []watchEvent {
	var events []watchEvent
	for _, frame := range frames {
		v, err := decode(frame)
		event, ok := v.(map[string]any)
		if err != nil || !ok {
			events = append(events, watchEvent{kind: "not an object"})
			continue
		}
		chat, _ := event["chat"].(map[string]any)
		id, _ := chat["id"].(string)
		if !mine(id) {
			continue
		}
		kind, _ := event["kind"].(string)
		status, _ := chat["status"].(string)
		events = append(events, watchEvent{kind: kind, status: status, chat: id, event: event})
	}
	return events
}

// asynchronous events come from background work: when they come, and with which state of the chat, is free.
func (e watchEvent) asynchronous() bool {
	return slices.Contains([]string{"title_change", "summary_change", "chat_summary_change", "diff_status_change"}, e.kind)
}

func (e watchEvent) String() string {
	if e.kind == "status_change" {
		return e.kind + " " + e.status
	}
	return e.kind
}

// compareWatch compares the events of each chat of this recording; those of other chats came from earlier recordings.
func (c *comparer) compareWatch(recorded, live [][]byte) error {
	want := watchEvents(recorded, func(chat string) bool { _, ok := c.ids.text[chat]; return ok })
	got := watchEvents(live, func(chat string) bool {
		recordedID, ok := c.ids.back[chat]
		return ok && recordedID != firstChat
	})
	chats := []string{}
	for _, e := range want {
		if !slices.Contains(chats, e.chat) {
			chats = append(chats, e.chat)
		}
	}
	for _, e := range got {
		if recordedID := c.ids.back[e.chat]; !slices.Contains(chats, recordedID) {
			chats = append(chats, recordedID)
		}
	}
	for _, chat := range chats {
		if err := c.compareChatWatch(ofChat(want, chat), ofChat(got, c.ids.text[chat])); err != nil {
			return fmt.Errorf("chat %s: %w", chat, err)
		}
	}
	return nil
}

func ofChat(events []watchEvent, chat string) []watchEvent {
	return slices.DeleteFunc(slices.Clone(events), func(e watchEvent) bool { return e.chat != chat })
}

func (c *comparer) compareChatWatch(want, got []watchEvent) error {
	wantLine, gotLine := c.sequence(want), c.sequence(got)
	if w, g := fmt.Sprint(wantLine), fmt.Sprint(gotLine); w != g {
		return fmt.Errorf("want %s, got %s", w, g)
	}
	events := *c
	events.event = true
	for i := range wantLine {
		if err := events.json(wantLine[i].event, gotLine[i].event); err != nil {
			return fmt.Errorf("%s: %w", wantLine[i], err)
		}
	}
	stale := events
	stale.stale = true
	for _, kind := range []string{"title_change", "summary_change", "chat_summary_change", "diff_status_change"} {
		one, other := firstOf(want, kind), firstOf(got, kind)
		if (one == nil) != (other == nil) {
			return fmt.Errorf("%s: wanted %t, came %t", kind, one != nil, other != nil)
		}
		if one == nil {
			continue
		}
		if err := stale.json(one, other); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

// sequence is what must come in order. In May a status is published once or twice.
func (c *comparer) sequence(events []watchEvent) []watchEvent {
	var kept []watchEvent
	last := ""
	for _, e := range events {
		if e.asynchronous() {
			continue
		}
		if e.kind == "status_change" {
			if c.generation == may && e.status == last {
				continue
			}
			last = e.status
		}
		kept = append(kept, e)
	}
	return kept
}

func firstOf(events []watchEvent, kind string) map[string]any {
	for _, e := range events {
		if e.kind == kind {
			return e.event
		}
	}
	return nil
}
