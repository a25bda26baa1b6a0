package gates

import (
	"fmt"

	"go.opentelemetry.io/collector/featuregate"
)

// synchronousLogs makes file_log pass lines on as they are read, and not from a buffer
// that is looked at ten times a second whether or not a line was written. A line in that
// buffer is lost when the agent is killed, because its file counts as read that far; and
// those looks were half of the times that an idle agent's goroutines woke. It costs
// nothing: file_log reads in batches, and all operators keep them (README.md of pkg/stanza
// in the pinned release, where the gate is alpha and is to become the default).
const synchronousLogs = "stanza.synchronousLogEmitter"

// Set sets the gates. It must be called before flags are read. The error is that of a
// release that does not have one of them.
func Set() error {
	if err := featuregate.GlobalRegistry().Set(synchronousLogs, true); err != nil {
		return fmt.Errorf("set feature gate: %w", err)
	}
	return nil
}
