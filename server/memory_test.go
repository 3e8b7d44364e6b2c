package server

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestAMemoryTellsEachMessageOnceInWhateverOrder(t *testing.T) {
	var m memory
	told, chat, other := &words{}, uuid.New(), uuid.New()
	for _, id := range []int64{7, 8, 3, 7, 3, 9} {
		require.NoError(t, m.once(t.Context(), chat, id, told.tell(id)))
	}
	require.NoError(t, m.once(t.Context(), other, 7, told.tell(7)))
	require.Equal(t, []int64{7, 8, 3, 9, 7}, told.all)
}

func TestAMessageThatFailedToBeToldIsToldByTheNext(t *testing.T) {
	var m memory
	told, chat := &words{}, uuid.New()
	telling, fail := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_ = m.once(context.Background(), chat, 1, func() error {
			close(telling)
			<-fail
			return errors.New("the call is over")
		})
	})
	<-telling
	all.Go(func() { _ = m.once(context.Background(), chat, 1, told.tell(1)) })
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, m.once(over, chat, 1, told.tell(1)), context.Canceled)
	close(fail)
	all.Wait()
	require.Equal(t, []int64{1}, told.all)
}

func TestAMemoryIsBounded(t *testing.T) {
	var m memory
	told, often := &words{}, uuid.New()
	for i := range int64(2 * chatsKept) {
		require.NoError(t, m.once(t.Context(), uuid.New(), i, told.tell(i)))
		require.NoError(t, m.once(t.Context(), often, 1, told.tell(-1)))
	}
	require.Len(t, m.chats, chatsKept)
	require.Len(t, told.all, 2*chatsKept+1, "a chat that is spoken of is not forgotten")
	for i := range int64(3 * messagesKept) {
		require.NoError(t, m.once(t.Context(), often, i, told.tell(i)))
	}
	require.Len(t, m.chats[often].ids, messagesKept)
	before := len(told.all)
	for i := int64(2 * messagesKept); i < 3*messagesKept; i++ {
		require.NoError(t, m.once(t.Context(), often, i, told.tell(i)))
	}
	require.Len(t, told.all, before, "the last ones are known")
}
