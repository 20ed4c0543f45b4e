package cmd

import (
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/laudspeaker/laudspeaker/config"
)

// newLogger writes JSON, or lines for people when w is a terminal and the format is auto.
func newLogger(cfg config.Log, w io.Writer) *zap.Logger {
	level, err := zapcore.ParseLevel(cfg.Level)
	if err != nil {
		level = zapcore.InfoLevel // not reached: the configuration knows the levels
	}
	console := cfg.Format == "console"
	if file, ok := w.(*os.File); ok && cfg.Format == "auto" {
		console = term.IsTerminal(int(file.Fd()))
	}
	return zap.New(zapcore.NewCore(encoder(console), zapcore.Lock(zapcore.AddSync(w)), level))
}

func encoder(console bool) zapcore.Encoder {
	e := zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", MessageKey: "msg", NameKey: "part",
		EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeTime: zapcore.RFC3339NanoTimeEncoder,
		EncodeDuration: zapcore.StringDurationEncoder, EncodeName: zapcore.FullNameEncoder,
	}
	if !console {
		return zapcore.NewJSONEncoder(e)
	}
	e.EncodeLevel = zapcore.CapitalLevelEncoder
	e.EncodeTime = zapcore.TimeEncoderOfLayout(time.TimeOnly)
	e.ConsoleSeparator = "  "
	return zapcore.NewConsoleEncoder(e)
}
