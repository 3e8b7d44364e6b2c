package replay

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testdata = "../testdata"

// The simulator answers as the recorded servers did, except for what testdata/mismatches.txt lists; and the list may
// only shrink.
func TestSimulatorAnswersAsRecorded(t *testing.T) {
	list, err := readMismatches(filepath.Join(testdata, "mismatches.txt"))
	require.NoError(t, err)
	var (
		mu       sync.Mutex
		outcomes = map[string][]outcome{}
	)
	record := func(one recorded, got []outcome) {
		mu.Lock()
		defer mu.Unlock()
		outcomes[one.generation] = append(outcomes[one.generation], got...)
	}
	var doubtful []recorded
	t.Run("recordings", func(t *testing.T) {
		// Replays wait most of the time: more of them at once than processors.
		var replays errgroup.Group
		replays.SetLimit(10)
		for _, one := range everyRecording(t, list) {
			replays.Go(func() error {
				t.Run(one.key(), func(t *testing.T) {
					got, complaints := replayed(t, one, list)
					if len(complaints) == 0 {
						record(one, got)
						return
					}
					t.Log(strings.Join(complaints, "\n"))
					mu.Lock()
					defer mu.Unlock()
					doubtful = append(doubtful, one)
				})
				return nil
			})
		}
		require.NoError(t, replays.Wait())
	})
	require.LessOrEqual(t, len(doubtful), mostDoubtful, "recordings that do not match")
	for _, one := range doubtful {
		t.Run("alone/"+one.key(), func(t *testing.T) { record(one, replayedAlone(t, one, list)) })
	}
	seen := map[string]bool{}
	for _, generation := range []string{may, august} {
		summarize(t, generation, outcomes[generation])
		for _, o := range outcomes[generation] {
			seen[o.key] = true
		}
	}
	if fullRun(outcomes) {
		for key := range list.reasons {
			if !seen[key] {
				t.Errorf("mismatches.txt lists %s, which is in no recording", key)
			}
		}
	}
}

// recorded is a recording among those of its generation.
type recorded struct {
	Recording
	generation string
	all        []Recording
}

func (r recorded) key() string { return r.generation + "/" + r.Name }

// everyRecording has those first that cannot match everywhere: they wait in vain, and the others are replayed meanwhile.
func everyRecording(t *testing.T, list *mismatches) []recorded {
	var every []recorded
	for _, generation := range []string{may, august} {
		all, err := Load(filepath.Join(testdata, "recordings-"+generation+".json.gz"))
		require.NoError(t, err)
		for _, r := range all {
			every = append(every, recorded{r, generation, all})
		}
	}
	slices.SortStableFunc(every, func(a, b recorded) int { return cmp.Compare(list.of(b.key()), list.of(a.key())) })
	return every
}

// fullRun is false when -run chose some recordings only.
func fullRun(outcomes map[string][]outcome) bool {
	for _, generation := range []string{may, august} {
		if !slices.ContainsFunc(outcomes[generation], func(o outcome) bool { return strings.Contains(o.key, "/006-") }) {
			return false
		}
	}
	return true
}

// A recording is one of the ways in which a server's background work (titles, summaries, workers that pick up chats) fell between what the recorder
// did. On a busy machine it may fall otherwise in a replay, so a few recordings are replayed once more, one at a time: one of the tries must match.
const (
	mostDoubtful = 8
	triesAlone   = 3
)

func replayedAlone(t *testing.T, one recorded, list *mismatches) []outcome {
	for try := 1; ; try++ {
		got, complaints := replayed(t, one, list)
		if len(complaints) > 0 && try < triesAlone {
			continue
		}
		for _, complaint := range complaints {
			t.Error(complaint)
		}
		return got
	}
}

// replayed plays a recording and says what was not as it should be.
func replayed(t *testing.T, one recorded, list *mismatches) (outcomes []outcome, complaints []string) {
	p := &player{
		session: newSession(t, one.generation, one.Recording), list: list,
		sockets: map[int]*wire{}, pending: map[int]chan sent{}, born: map[string]birth{},
	}
	p.play(implied(one.generation, one.all, one.Recording))
	for _, o := range p.outcomes {
		reason, listed := list.reasons[o.key]
		switch {
		case o.class:
		case o.err != nil && !listed:
			complaints = append(complaints, fmt.Sprintf("%s: %v", o.key, o.err))
		case o.err == nil && listed:
			complaints = append(complaints, fmt.Sprintf("%s matches now: take it from mismatches.txt (%s)", o.key, reason))
		}
	}
	return p.outcomes, complaints
}

func summarize(t *testing.T, generation string, outcomes []outcome) {
	var exchanges, matching, listed, excluded, sockets, socketsMatching, frames, framesMatching int
	for _, o := range outcomes {
		switch {
		case o.class:
			exchanges++
			excluded++
		case o.socket:
			sockets++
			frames += o.frames
			if o.err == nil {
				socketsMatching++
				framesMatching += o.frames
			}
		default:
			exchanges++
			if o.err == nil {
				matching++
			} else {
				listed++
			}
		}
	}
	fmt.Printf("%s: replayed %d exchanges: %d match, %d listed one by one, %d of classes outside the product\n",
		generation, exchanges, matching, listed, excluded)
	fmt.Printf("%s: replayed %d WebSockets with %d messages: %d match with %d messages, %d listed\n",
		generation, sockets, frames, socketsMatching, framesMatching, sockets-socketsMatching)
	t.Logf("%s: %d of %d exchanges and %d of %d WebSockets match", generation, matching, exchanges, socketsMatching, sockets)
}
