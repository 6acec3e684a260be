package embedded

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap/zapcore"
)

// logCore hands etcd's errors over to slog. What is below an error is for
// those who develop etcd; what comes while the server stops is about its own
// connections, which break then.
type logCore struct {
	log     *slog.Logger
	muted   *atomic.Bool
	removed *atomic.Bool // the server has said that its cluster has removed it
	fields  []zapcore.Field
}

// tooEarly is what etcd says once when a new member starts: it has nothing yet
// to read its storage's version from, and tries again.
const tooEarly = "failed to update storage version"

// lastWords is the warning with which a server ends, whose error says why. Nothing
// else of it does.
const lastWords, wasRemoved = "server error", "permanently removed from the cluster"

func newLogCore(log *slog.Logger) *logCore {
	return &logCore{log: log, muted: new(atomic.Bool), removed: new(atomic.Bool)}
}

// Enabled implements zapcore.Core.
func (c *logCore) Enabled(level zapcore.Level) bool {
	return level >= zapcore.WarnLevel && !c.muted.Load()
}

// With implements zapcore.Core.
func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	return &logCore{c.log, c.muted, c.removed, slices.Concat(c.fields, fields)}
}

// Check implements zapcore.Core.
func (c *logCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	told := entry.Level >= zapcore.ErrorLevel && entry.Message != tooEarly
	if c.Enabled(entry.Level) && (told || entry.Message == lastWords) {
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
	if entry.Level < zapcore.ErrorLevel {
		why, _ := values.Fields["error"].(string)
		c.removed.Store(c.removed.Load() || strings.Contains(why, wasRemoved))
		return nil
	}
	c.log.LogAttrs(context.Background(), slog.LevelError, "etcd: "+entry.Message, attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (c *logCore) Sync() error { return nil }
