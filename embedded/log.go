package embedded

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"go.uber.org/zap/zapcore"
)

// logCore hands etcd's errors over to slog. What is below an error is for
// those who develop etcd; what comes while the server stops is about its own
// connections, which break then.
type logCore struct {
	log    *slog.Logger
	muted  *atomic.Bool
	fields []zapcore.Field
}

// tooEarly is what etcd says once when a new member starts: it has nothing yet
// to read its storage's version from, and tries again.
const tooEarly = "failed to update storage version"

func newLogCore(log *slog.Logger) *logCore {
	return &logCore{log: log, muted: new(atomic.Bool)}
}

// Enabled implements zapcore.Core.
func (c *logCore) Enabled(level zapcore.Level) bool {
	return level >= zapcore.ErrorLevel && !c.muted.Load()
}

// With implements zapcore.Core.
func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	return &logCore{c.log, c.muted, slices.Concat(c.fields, fields)}
}

// Check implements zapcore.Core.
func (c *logCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) && entry.Message != tooEarly {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *logCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	var attrs []slog.Attr
	for _, field := range slices.Concat(c.fields, fields) {
		field.AddTo(values)
		if value, ok := values.Fields[field.Key]; ok {
			attrs = append(attrs, slog.Any(field.Key, value))
		}
	}
	c.log.LogAttrs(context.Background(), slog.LevelError, "etcd: "+entry.Message, attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (c *logCore) Sync() error { return nil }
