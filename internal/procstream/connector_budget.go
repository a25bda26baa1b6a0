package procstream

import "time"

const (
	// budgetPeriod and budgetMessages bound what the stream may cost: a message
	// takes about 0.1 ms (BenchmarkConnector on two cores), so this is a fifth of
	// one core. A host that starts more than some 700 processes each second
	// needs BPF.
	budgetPeriod   = time.Second
	budgetMessages = 2000
)

// budget bounds the messages that are looked at. What comes beyond is lost.
type budget struct {
	most, taken int
	renewed     time.Time
	// overdrawn: messages of this period were not looked at.
	overdrawn bool
}

func newBudget(most int) budget {
	if most <= 0 {
		most = budgetMessages
	}
	return budget{most: most}
}

// renew begins a new period when it is time, and reports whether in the one
// before messages were lost.
func (b *budget) renew(now time.Time) (lost bool) {
	if now.Sub(b.renewed) < budgetPeriod {
		return false
	}
	lost = b.overdrawn
	*b = budget{most: b.most, renewed: now}
	return lost
}

// take reports whether one more message may be looked at.
func (b *budget) take() bool {
	if b.taken >= b.most {
		b.overdrawn = true
		return false
	}
	b.taken++
	return true
}
