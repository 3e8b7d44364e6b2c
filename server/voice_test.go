package server

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func newVoice(speakers ...any) *voice {
	v := &voice{moved: make(chan struct{})}
	for _, s := range speakers {
		v.join(s)
	}
	return v
}

// words is what was told.
type words struct {
	mu  sync.Mutex
	all []int64
}

func (w *words) tell(serial int64) func() error {
	return func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all = append(w.all, serial)
		return nil
	}
}

func TestAVoiceTellsWhatManyHearOnceAndInOrder(t *testing.T) {
	v, told := newVoice(1, 2, 3), &words{}
	var all sync.WaitGroup
	for _, speaker := range []int{1, 2, 3} {
		all.Go(func() {
			for serial := int64(1); serial <= 100; serial++ {
				if speaker == 1 && serial == 40 {
					v.leave(speaker) // the others go on from here
					return
				}
				_ = v.say(t.Context(), speaker, serial, told.tell(serial))
			}
			v.leave(speaker)
		})
	}
	all.Wait()
	require.Len(t, told.all, 100)
	require.IsIncreasing(t, told.all)
	require.Empty(t, v.speakers)
}

func TestAVoiceTellsAllOfOneNumber(t *testing.T) {
	v, told := newVoice("first"), &words{}
	for _, serial := range []int64{7, 7, 8} { // the joined rest of what a slow listener missed
		require.NoError(t, v.say(t.Context(), "first", serial, told.tell(serial)))
	}
	require.Equal(t, []int64{7, 7, 8}, told.all)
}

func TestWaitingForAVoiceEndsWithTheCall(t *testing.T) {
	v := newVoice("first", "second")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, v.say(ctx, "second", 1, func() error { return nil }), context.Canceled)
}

func TestAVoiceHasNotToldWhatFailed(t *testing.T) {
	v, told := newVoice("first", "second"), &words{}
	failure := errors.New("the client is gone")
	require.ErrorIs(t, v.say(t.Context(), "first", 1, func() error { return failure }), failure)
	require.False(t, v.leave("first"))
	require.NoError(t, v.say(t.Context(), "second", 1, told.tell(1)))
	require.Equal(t, []int64{1}, told.all)
	require.True(t, v.leave("second"))
}

func TestWhoHasLeftAVoiceTellsNothingAndWaitsForNobody(t *testing.T) {
	told := &words{}
	alone := newVoice("only")
	require.True(t, alone.leave("only"))
	require.ErrorIs(t, alone.say(t.Context(), "only", 1, told.tell(1)), errLeft)

	v := newVoice("first", "second")
	waiting := make(chan error)
	go func() { waiting <- v.say(t.Context(), "second", 1, told.tell(1)) }()
	require.False(t, v.leave("second"))
	require.ErrorIs(t, <-waiting, errLeft)
	require.Empty(t, told.all)
	require.NoError(t, v.say(t.Context(), "first", 1, told.tell(1)))
	require.NoError(t, v.say(t.Context(), "second", 1, told.tell(1)), "it was told")
	require.Equal(t, []int64{1}, told.all)
}

func TestWhatIsBeingToldByOneWhoLeavesIsNotToldTwice(t *testing.T) {
	v, told := newVoice("first", "second"), &words{}
	telling, goOn := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_ = v.say(t.Context(), "first", 1, func() error {
			close(telling)
			<-goOn
			return told.tell(1)()
		})
	})
	<-telling
	require.False(t, v.leave("first"))
	all.Go(func() {
		for _, serial := range []int64{1, 2} {
			_ = v.say(t.Context(), "second", serial, told.tell(serial))
		}
	})
	close(goOn)
	all.Wait()
	require.Equal(t, []int64{1, 2}, told.all)
}
