package simulator

import (
	"encoding/json"
	"net/http"
)

// configRoute is a setting that only answers: the site owner's, or everybody's.
type configRoute struct {
	path, body string
	members    int // status for members: 0 like the owner
}

var mayConfig = []configRoute{
	{path: "/config/system-prompt", body: `{"system_prompt":"","include_default_system_prompt":true,"default_system_prompt":""}`, members: 404},
	{path: "/config/plan-mode-instructions", body: `{"plan_mode_instructions":""}`, members: 404},
	{path: "/config/model-override/general", body: `{"context":"general","model_config_id":"","is_malformed":false}`, members: 404},
	{path: "/config/personal-model-overrides", body: `{"allow_users":false}`, members: 404},
	{path: "/config/debug-logging", body: `{"allow_users":false,"forced_by_deployment":false}`, members: 404},
	{path: "/config/user-debug-logging", body: `{"debug_logging_enabled":false,"user_toggle_allowed":false,"forced_by_deployment":false}`},
	{path: "/config/user-prompt", body: `{"custom_prompt":""}`},
	{path: "/config/user-compaction-thresholds", body: `{"thresholds":[]}`},
	{path: "/config/workspace-ttl", body: `{"workspace_ttl_ms":0}`},
	{path: "/config/retention-days", body: `{"retention_days":30}`},
	{path: "/config/debug-retention-days", body: `{"debug_retention_days":30}`},
	{path: "/config/auto-archive-days", body: `{"auto_archive_days":0}`},
	{path: "/config/computer-use-provider", body: `{"provider":"anthropic"}`},
	{path: "/config/advisor", body: `{"enabled":false,"max_uses_per_run":0,"max_output_tokens":0,"model_config_id":"00000000-0000-0000-0000-000000000000"}`},
}

// onlyMay were taken away later.
var onlyMay = []configRoute{
	{path: "/config/desktop-enabled", body: `{"enable_desktop":false}`},
	{path: "/config/template-allowlist", body: `{"template_ids":[]}`, members: 404},
	{path: "/usage-limits", body: `{"spend_limit_micros":null,"period":"day","updated_at":"2026-05-01T09:00:00Z","unpriced_model_count":1,"overrides":[],"group_overrides":[]}`, members: 403},
	{path: "/usage-limits/status", body: `{"is_limited":false,"current_spend":0,"period_start":"0001-01-01T00:00:00Z","period_end":"0001-01-01T00:00:00Z"}`},
	{path: "/user-provider-configs", body: `[]`},
}

func (s *Server) configRoutes() []route {
	var routes []route
	add := func(list []configRoute) {
		for _, r := range list {
			routes = append(routes, route{method: "GET", pattern: r.path, handle: r.answer})
		}
	}
	add(mayConfig)
	if s.gen.adminConfig {
		add(onlyMay)
		return routes
	}
	for _, path := range []string{"/providers", "/user-provider-configs"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			routes = append(routes, route{method: method, pattern: path, handle: removed})
		}
	}
	return routes
}

func (r configRoute) answer(c *call) *apiError {
	if !c.user.Owner {
		switch r.members {
		case http.StatusNotFound:
			return notFound()
		case http.StatusForbidden:
			return forbidden()
		}
	}
	c.reply(http.StatusOK, json.RawMessage(r.body))
	return nil
}

func removed(*call) *apiError {
	return &apiError{
		status: http.StatusGone, Message: "Legacy chat provider APIs were removed. Use AI provider APIs instead.",
		Detail: "See https://coder.com/docs/ai-coder/agents/models#providers for AI provider configuration.",
	}
}
