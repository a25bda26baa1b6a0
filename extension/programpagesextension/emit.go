package programpagesextension

import (
	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/programpages"
)

// tell says once what has come of it. The agent does without.
func (p *pages) tell(r programpages.Result, err error) {
	if err != nil {
		p.log.Warn("pages of the program file stay resident (nothing else depends on it)", zap.Error(err))
		return
	}
	p.log.Info("gave pages of the program file back", zap.Int64("resident.before", r.Before), zap.Int64("resident.after", r.After))
}
