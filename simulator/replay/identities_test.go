package replay

import (
	"maps"
	"regexp"
	"strings"
)

// identities maps what differs between a recording and its replay: UUIDs, ids of tool calls, and the integer ids of
// messages and of queued messages, which are sequences of their own. It fills itself while answers are compared.
type identities struct {
	text map[string]string
	back map[string]string
	ints map[sequence]map[int64]int64
}

type sequence string

const (
	messageIDs sequence = "message"
	queueIDs   sequence = "queue"
)

const nilUUID = "00000000-0000-0000-0000-000000000000"

var (
	uuidPattern = regexp.MustCompile(`(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	callPattern = regexp.MustCompile(`call_[0-9A-Za-z_]*[0-9A-Za-z]`)
)

func newIdentities() *identities {
	return &identities{
		text: map[string]string{},
		back: map[string]string{},
		ints: map[sequence]map[int64]int64{messageIDs: {}, queueIDs: {}},
	}
}

func (ids *identities) clone() *identities {
	return &identities{
		text: maps.Clone(ids.text),
		back: maps.Clone(ids.back),
		ints: map[sequence]map[int64]int64{
			messageIDs: maps.Clone(ids.ints[messageIDs]),
			queueIDs:   maps.Clone(ids.ints[queueIDs]),
		},
	}
}

// pair notes that recorded and live name the same thing; false when either is already known as something else.
func (ids *identities) pair(recorded, live string) bool {
	known, ok := ids.text[recorded]
	if ok {
		return known == live
	}
	if _, taken := ids.back[live]; taken {
		return false
	}
	ids.text[recorded], ids.back[live] = live, recorded
	return true
}

func (ids *identities) pairInt(s sequence, recorded, live int64) bool {
	known, ok := ids.ints[s][recorded]
	if ok {
		return known == live
	}
	ids.ints[s][recorded] = live
	return true
}

// liveInt translates an integer id. One that never came in an answer (a hidden system row, a cursor in a gap) keeps its
// distance to the nearest known id; ids far away from all known ones mean "no such id" and stay.
func (ids *identities) liveInt(s sequence, recorded int64) int64 {
	const near = 20
	if live, ok := ids.ints[s][recorded]; ok {
		return live
	}
	for distance := int64(1); distance <= near; distance++ {
		for _, neighbour := range []int64{recorded - distance, recorded + distance} {
			if live, ok := ids.ints[s][neighbour]; ok && recorded > 0 {
				return live + recorded - neighbour
			}
		}
	}
	return recorded
}

// liveText translates every id inside a text; a UUID written in capitals stays in capitals.
func (ids *identities) liveText(recorded string) string {
	recorded = uuidPattern.ReplaceAllStringFunc(recorded, func(id string) string {
		live, ok := ids.text[strings.ToLower(id)]
		if !ok {
			return id
		}
		if id != strings.ToLower(id) {
			return strings.ToUpper(live)
		}
		return live
	})
	return callPattern.ReplaceAllStringFunc(recorded, func(id string) string {
		if live, ok := ids.text[id]; ok {
			return live
		}
		return id
	})
}
