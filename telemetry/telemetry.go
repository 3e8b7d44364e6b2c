// Package telemetry makes a running server visible: metrics for Prometheus, traces and metrics for OpenTelemetry with the semantic conventions of
// MCP, a line in the log for each slow call, and an audit line for each write. None of them holds what was said, or a token.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
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
	Logger           *slog.Logger  // slow calls, at warning, and what OpenTelemetry itself complains of; nil: nowhere
	Audit            *slog.Logger  // writes, at info; nil: nowhere
	Slow             time.Duration // a call that takes longer, beside the time that it was asked to wait, is logged; 0 = never
}

// Telemetry observes one server. A nil *Telemetry observes nothing and costs nothing.
type Telemetry struct {
	options    Options
	registry   *prometheus.Registry
	meters     *sdkmetric.MeterProvider
	traces     *sdktrace.TracerProvider // nil unless there is an endpoint for traces
	tracer     trace.Tracer
	calls      metric.Float64Histogram
	lifetimes  metric.Float64Histogram
	sessions   metric.Int64UpDownCounter
	propagator propagation.TextMapPropagator
}

// The signals that can be exported, as OpenTelemetry's environment names them.
const (
	traces  = "TRACES"
	metrics = "METRICS"
)

// Exporting reports whether the environment names an endpoint for traces or metrics.
func Exporting() bool { return exports(traces) || exports(metrics) }

func exports(signal string) bool {
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

// New sets up metrics, and of OpenTelemetry's exporters those that the environment names an endpoint for: OTEL_EXPORTER_OTLP_ENDPOINT, or its
// variants for one signal.
func New(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Logger.Warn("OpenTelemetry", "error", err) }))
	t := &Telemetry{options: o, registry: prometheus.NewRegistry(), propagator: propagation.TraceContext{}}
	t.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	scrape, err := promexporter.New(promexporter.WithRegisterer(t.registry), promexporter.WithoutScopeInfo(), promexporter.WithoutTargetInfo())
	if err != nil {
		return nil, err
	}
	about, err := o.about(ctx)
	if about == nil {
		return nil, err
	}
	if err != nil {
		o.Logger.Warn("a part of OTEL_RESOURCE_ATTRIBUTES is left out", "error", err)
	}
	readers := []sdkmetric.Option{sdkmetric.WithReader(scrape), sdkmetric.WithResource(about)}
	if exports(metrics) {
		numbers, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, err
		}
		readers = append(readers, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(numbers)))
	}
	t.meters = sdkmetric.NewMeterProvider(readers...)
	if exports(traces) {
		spans, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, err
		}
		t.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(about))
		t.tracer = t.traces.Tracer(o.Service)
	}
	return t, t.instruments(ctx)
}

// about is who exports. What the operator says of it in OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES comes last and wins.
func (o Options) about(ctx context.Context) (*resource.Resource, error) {
	return resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", o.Service), attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", uuid.NewString()),
	), resource.WithFromEnv())
}

// buckets are those that the conventions recommend, in seconds.
var buckets = metric.WithExplicitBucketBoundaries(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)

func (t *Telemetry) instruments(ctx context.Context) (err error) {
	meter := t.meters.Meter(t.options.Service)
	if t.calls, err = meter.Float64Histogram("mcp.server.operation.duration", metric.WithUnit("s"), buckets,
		metric.WithDescription("how long MCP requests took")); err != nil {
		return err
	}
	if t.lifetimes, err = meter.Float64Histogram("mcp.server.session.duration", metric.WithUnit("s"), buckets,
		metric.WithDescription("how long MCP sessions lasted here")); err != nil {
		return err
	}
	if t.sessions, err = meter.Int64UpDownCounter("mcp.server.sessions", metric.WithUnit("{session}"),
		metric.WithDescription("MCP sessions at present")); err != nil {
		return err
	}
	t.sessions.Add(ctx, 0) // so that it is there before the first one
	return nil
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

// Session counts a session until the returned function is called, with the protocol that was agreed upon.
func (t *Telemetry) Session(ctx context.Context, overHTTP bool) (end func(protocol string)) {
	if t == nil {
		return func(string) {}
	}
	began := time.Now()
	t.sessions.Add(ctx, 1)
	return func(protocol string) {
		ctx := context.WithoutCancel(ctx)
		t.sessions.Add(ctx, -1)
		t.lifetimes.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(connection(protocol, overHTTP)...))
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

// patience is how long a collector may hold up the end of the process.
const patience = 4 * time.Second

// Shutdown sends what is left, within four seconds.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var numbers, spans error
	var both sync.WaitGroup
	both.Go(func() { numbers = t.meters.Shutdown(ctx) })
	if t.traces != nil {
		both.Go(func() { spans = t.traces.Shutdown(ctx) })
	}
	both.Wait()
	return errors.Join(numbers, spans)
}
