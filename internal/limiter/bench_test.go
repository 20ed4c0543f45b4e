package limiter

import (
	"context"
	"testing"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func BenchmarkLimiter(b *testing.B) {
	for name, cfg := range map[string]Config{
		"unlimited": {}, "limited": {Concurrency: 64}, "paced": {Concurrency: 64, Rate: 1e12},
	} {
		once := func(b *testing.B, l *Limiter) {
			release, err := l.Acquire(context.Background(), notify.LaneNormal, forever)
			if err != nil {
				b.Fatal(err)
			}
			release()
		}
		b.Run(name, func(b *testing.B) {
			l := New(cfg)
			b.ReportAllocs()
			for b.Loop() {
				once(b, l)
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			l := New(cfg)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					once(b, l)
				}
			})
		})
	}
	b.Run("contended", func(b *testing.B) { // more callers than slots: each of them waits
		l := New(Config{Concurrency: 1})
		b.ReportAllocs()
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				release, err := l.Acquire(context.Background(), notify.LaneNormal, forever)
				if err != nil {
					b.Error(err)
					return
				}
				release()
			}
		})
	})
}
