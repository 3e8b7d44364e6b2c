package simulator

func (s *Server) tell(c *chat, prompt string, results []*message) *reply {
	return s.say("echo: " + prompt)
}
func (s *Server) storyTitle(c *chat, prompt string) string { return "" }
func storyWorkspace(c *chat, prompt string) *workspace {
	return newWorkspace(Workspace{OwnerID: c.owner.ID})
}
