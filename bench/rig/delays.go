package rig

import (
	"slices"
	"time"
)

// Delays are measured times.
type Delays []time.Duration

// Quantile is the time that so many of a hundred stay below; 0 of none.
func (d Delays) Quantile(percent int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}
