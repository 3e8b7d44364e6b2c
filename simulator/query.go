package simulator

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// positive32 reads a number from the query; its complaint is the API's.
func positive32(q url.Values, name string, otherwise int) (int, []validation) {
	n, wrong := positive(q, name, 32)
	if !q.Has(name) || q.Get(name) == "" {
		return otherwise, nil
	}
	return int(n), wrong
}

func positive64(q url.Values, name string) (int64, []validation) { return positive(q, name, 64) }

func positive(q url.Values, name string, bits int) (int64, []validation) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err == nil && n < 0 {
		err = errors.New("value is negative")
	}
	if err != nil {
		return 0, []validation{{name, fmt.Sprintf("Query param %q must be a valid %d-bit positive integer: %s", name, bits, err)}}
	}
	return n, nil
}
