// Package telemetry makes a running server visible: metrics for Prometheus, traces and metrics for OpenTelemetry with the semantic conventions of
// MCP, a line in the log for each slow call, and an audit line for each write. None of them holds what was said, or a token.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Options configure New.
type Options struct {
	Service, Version string
	Logger           *slog.Logger  // slow calls, at warning; nil: nowhere
	Audit            *slog.Logger  // writes, at info; nil: nowhere
	Slow             time.Duration // a call that takes longer, beside the time that it was asked to wait, is logged; 0 = never
}

// Telemetry observes one server. A nil *Telemetry observes nothing and costs nothing.
type Telemetry struct {
	options    Options
	registry   *prometheus.Registry
	meters     *sdkmetric.MeterProvider
	traces     *sdktrace.TracerProvider // nil unless an OTLP endpoint is set
	tracer     trace.Tracer
	durations  metric.Float64Histogram
	sessions   metric.Int64UpDownCounter
	propagator propagation.TextMapPropagator
}

// endpoints switch OpenTelemetry's exporters on, as its own specification says.
var endpoints = []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"}

// New sets up metrics, and the exporters of OpenTelemetry when OTEL_EXPORTER_OTLP_ENDPOINT (or one of its variants) is set.
func New(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{options: o, registry: prometheus.NewRegistry(), propagator: propagation.TraceContext{}}
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	scrape, err := promexporter.New(promexporter.WithRegisterer(t.registry), promexporter.WithoutScopeInfo(), promexporter.WithoutTargetInfo())
	if err != nil {
		return nil, err
	}
	about := resource.NewSchemaless(attribute.String("service.name", o.Service), attribute.String("service.version", o.Version))
	readers := []sdkmetric.Option{sdkmetric.WithReader(scrape), sdkmetric.WithResource(about)}
	if Exporting() {
		if readers, err = t.export(ctx, about, readers); err != nil {
			return nil, err
		}
	}
	t.meters = sdkmetric.NewMeterProvider(readers...)
	if t.traces != nil {
		t.tracer = t.traces.Tracer(o.Service)
	}
	return t, t.instruments()
}

// Exporting reports whether the environment names an endpoint for traces or metrics.
func Exporting() bool {
	for _, name := range endpoints {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

func (t *Telemetry) export(ctx context.Context, about *resource.Resource, readers []sdkmetric.Option) ([]sdkmetric.Option, error) {
	spans, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, err
	}
	numbers, err := otlpmetrichttp.New(ctx)
	if err != nil {
		return nil, err
	}
	t.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(about))
	return append(readers, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(numbers))), nil
}

func (t *Telemetry) instruments() (err error) {
	meter := t.meters.Meter(t.options.Service)
	t.durations, err = meter.Float64Histogram("mcp.server.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("how long MCP requests took"),
		metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300))
	if err != nil {
		return err
	}
	t.sessions, err = meter.Int64UpDownCounter("mcp.server.sessions", metric.WithUnit("{session}"), metric.WithDescription("MCP sessions at present"))
	return err
}

// Counter registers a number that only grows, read when it is asked for.
func (t *Telemetry) Counter(name, description string, value func() int64) error {
	if t == nil {
		return nil
	}
	_, err := t.meters.Meter(t.options.Service).Int64ObservableCounter(name, metric.WithDescription(description),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(value())
			return nil
		}))
	return err
}

// Handler serves the metrics to Prometheus.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{})
}

// Session counts a session until the returned function is called.
func (t *Telemetry) Session(ctx context.Context) (end func()) {
	if t == nil {
		return func() {}
	}
	t.sessions.Add(ctx, 1)
	return func() { t.sessions.Add(context.WithoutCancel(ctx), -1) }
}

// Call is an MCP request as it is observed.
type Call struct {
	Method   string // tools/call, resources/read, prompts/get
	Target   string // the tool or prompt; never an address of a resource, which names a chat
	Session  string
	Protocol string
	Meta     map[string]any // the request's _meta: traceparent, tracestate
	Writes   bool           // it is audited
	Caller   string         // a hash of the token
	Chat     string
	Waits    time.Duration // as long as it was asked to wait; that is not slowness
}

// Observe begins a request. The context that it returns carries the span, for Transport; end finishes it with the type of error, or "",
// and with the chat that a write created.
func (t *Telemetry) Observe(ctx context.Context, c Call) (observed context.Context, end func(failure, created string)) {
	if t == nil {
		return ctx, func(string, string) {}
	}
	began := time.Now()
	ctx, span := t.span(ctx, c)
	return ctx, func(failure, created string) {
		took := time.Since(began)
		if c.Chat == "" {
			c.Chat = created
		}
		attributes := c.attributes(failure)
		t.durations.Record(context.WithoutCancel(ctx), took.Seconds(), metric.WithAttributes(attributes...))
		if span != nil {
			span.SetAttributes(attributes...)
			if failure != "" {
				span.SetStatus(codes.Error, failure)
			}
			span.End()
		}
		t.log(c, took, failure)
	}
}

func (t *Telemetry) span(ctx context.Context, c Call) (context.Context, trace.Span) {
	carrier := propagation.MapCarrier{}
	for _, name := range t.propagator.Fields() {
		if value, ok := c.Meta[name].(string); ok {
			carrier.Set(name, value)
		}
	}
	ctx = t.propagator.Extract(ctx, carrier)
	if t.tracer == nil {
		return ctx, nil
	}
	name := c.Method
	if c.Target != "" {
		name += " " + c.Target
	}
	return t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attribute.String("mcp.session.id", c.Session)))
}

func (c Call) attributes(failure string) []attribute.KeyValue {
	attributes := []attribute.KeyValue{attribute.String("mcp.method.name", c.Method)}
	for name, value := range map[string]string{"mcp.protocol.version": c.Protocol, "error.type": failure} {
		if value != "" {
			attributes = append(attributes, attribute.String(name, value))
		}
	}
	switch {
	case c.Method == "tools/call":
		attributes = append(attributes, attribute.String("gen_ai.tool.name", c.Target), attribute.String("gen_ai.operation.name", "execute_tool"))
	case c.Target != "":
		attributes = append(attributes, attribute.String("gen_ai.prompt.name", c.Target))
	}
	return attributes
}

func (t *Telemetry) log(c Call, took time.Duration, failure string) {
	result := failure
	if result == "" {
		result = "ok"
	}
	if t.options.Logger != nil && t.options.Slow > 0 && took-c.Waits > t.options.Slow {
		t.options.Logger.Warn("slow call", "method", c.Method, "target", c.Target, "took", took.Round(time.Millisecond), "result", result, "session", c.Session)
	}
	if t.options.Audit != nil && c.Writes {
		t.options.Audit.Info("audit", "caller", c.Caller, "tool", c.Target, "chat", c.Chat, "result", result)
	}
}

// Transport passes the trace on to Coder.
func (t *Telemetry) Transport(base http.RoundTripper) http.RoundTripper {
	if t == nil {
		return base
	}
	return roundTripper{t, base}
}

type roundTripper struct {
	telemetry *Telemetry
	base      http.RoundTripper
}

func (r roundTripper) RoundTrip(q *http.Request) (*http.Response, error) {
	if !trace.SpanContextFromContext(q.Context()).IsValid() {
		return r.base.RoundTrip(q)
	}
	q = q.Clone(q.Context())
	r.telemetry.propagator.Inject(q.Context(), propagation.HeaderCarrier(q.Header))
	return r.base.RoundTrip(q)
}

// Shutdown sends what is left.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	err := t.meters.Shutdown(ctx)
	if t.traces != nil {
		err = errors.Join(err, t.traces.Shutdown(ctx))
	}
	return err
}
