package resources

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestABurstIsAFewCallsAndOneAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := newPulse()
		var told []time.Duration
		begin := time.Now()
		go p.run(ctx, func() { told = append(told, time.Since(begin)) })
		var last time.Duration
		for range 3000 { // 1.5 s of it
			p.beat()
			last = time.Since(begin)
			time.Sleep(500 * time.Microsecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Zero(t, told[0], "the first is told at once")
		require.LessOrEqual(t, len(told), 8)
		require.GreaterOrEqual(t, told[len(told)-1], last, "what came last is told")
		for i := range told[1:] {
			require.GreaterOrEqual(t, told[i+1]-told[i], updateInterval)
		}
	})
}

func TestWhatHappensWhileItIsToldIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := newPulse()
		calls := 0
		go p.run(ctx, func() {
			if calls++; calls == 1 {
				p.beat()
				time.Sleep(time.Hour) // a slow client
			}
		})
		p.beat()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Equal(t, 2, calls)
	})
}
