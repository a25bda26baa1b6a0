package hints

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
)

// logReceiver is the type of the receiver that follows files; filelog is its name
// from some releases ago.
const logReceiver = "file_log"

const (
	// largestRecord is in bytes: what otelcol-config.yaml has, and what file_log gets
	// if a label says nothing.
	largestRecord = 256 << 10
	// With multiline all that has no end yet is looked through again at each poll, two or
	// three times. A look at 64 KiB took up to 40 ms with a border of 64 instructions
	// (regex.go), so that this is a tenth of a core at worst.
	largestJoined = 64 << 10 // bytes
	joinedPoll    = time.Second
	// smallestRecord keeps a flood of lines from becoming records of a byte each.
	smallestRecord = 1 << 10
	// A file is known by its first bytes, 16 at least (file_log's own bound).
	largestFingerprint, smallestFingerprint = 16 << 10, 16
)

// logSettings are those of file_log that a container may decide. What it reads is
// ours, and so is the resource, which says whose the records are.
func logSettings(format string) settings {
	r := &regexes{left: mostInstructions, most: mostInstructions, of: "a label"}
	borders := &regexes{left: mostOfBorder, most: mostOfBorder, of: "multiline"}
	return settings{
		"attributes":                    named(mostFields, attributeName, text(longestConstant)),
		"encoding":                      oneOf("utf-8", "utf8", "utf-8-raw", "utf8-raw", "ascii", "us-ascii"),
		"fingerprint_size":              size(smallestFingerprint, largestFingerprint),
		"force_flush_period":            pollInterval,
		"include_file_name":             flag,
		"include_file_name_resolved":    flag,
		"include_file_path":             flag,
		"include_file_path_resolved":    flag,
		"max_log_size":                  size(smallestRecord, largestRecord),
		"multiline":                     table(settings{"line_start_pattern": borders.border, "line_end_pattern": borders.border, "omit_pattern": flag}, "multiline"),
		"operators":                     newOperators(r, format).take,
		"poll_interval":                 pollInterval,
		"preserve_leading_whitespaces":  flag,
		"preserve_trailing_whitespaces": flag,
		"start_at":                      oneOf("beginning", "end"),
	}
}

// joinedSettings are in the place of those if there is multiline.
func joinedSettings() settings {
	beside := func(one setting) setting {
		return func(value any) (any, error) {
			taken, err := one(value)
			if err != nil {
				return nil, fmt.Errorf("%w beside multiline", err)
			}
			return taken, nil
		}
	}
	return settings{
		"max_log_size":  beside(size(smallestRecord, largestJoined)),
		"poll_interval": beside(duration(joinedPoll, time.Minute)),
	}
}

// attributeName keeps the names of files ours: the operator container reads off
// them whose pod it is.
func attributeName(name string) error {
	if len(name) > longestConstant {
		return fmt.Errorf("is longer than %d bytes", longestConstant)
	}
	if strings.HasPrefix(name, "log.file.") {
		return errors.New("is set by the receiver")
	}
	return checkText(name)
}

// logs reads requests for the container's output. Whoever names the container
// goes first; names are only looked up, so other containers of a pod do no harm.
func (r *reader) logs() {
	s := source{base: logs, scope: cmp.Or(r.target.Pod().Container, r.target.Name)}
	on, set, err := r.enabled(s)
	if err != nil {
		r.optOut(logs, spec.Logs, err)
		return
	}
	if set && !on {
		r.result.Off |= spec.Logs
	}
	if !on {
		return
	}
	config, err := r.logConfig(s)
	switch {
	case errors.Is(err, ErrNotThere):
		r.wait(logs, err.Error())
		r.result.Again = true
	case err != nil:
		r.problem(logs, fmt.Errorf("read %s/config: %w", logs, err))
	default:
		r.want(logs, logReceiver, target.Endpoint{}, asked{config: config, signals: spec.Logs})
	}
}

func (r *reader) logConfig(s source) (map[string]any, error) {
	find := r.options.LogFiles
	if find == nil {
		find = LogPlaces{}.Files
	}
	own, err := parseConfig(r.value(s, "config"))
	if err != nil {
		return nil, err
	}
	patterns, format, err := find(r.target)
	if err != nil && !errors.Is(err, ErrNotThere) {
		return nil, err
	}
	// What is wrong with the settings is said whether the file is there or not.
	may := logSettings(format)
	config := map[string]any{"include_file_name": false, "include_file_path": true, "max_log_size": largestRecord}
	if _, isJoined := own["multiline"]; isJoined {
		config["max_log_size"], config["poll_interval"] = largestJoined, joinedPoll.String()
		may = may.with(joinedSettings())
	}
	own, wrong := may.take(own, logReceiver)
	if wrong != nil {
		return nil, wrong
	}
	if err != nil {
		return nil, err
	}
	if format != "" {
		config["operators"] = []any{containerParser(format, nil)}
	}
	for key, value := range own {
		config[key] = value
	}
	include := make([]any, 0, len(patterns))
	for _, p := range patterns {
		include = append(include, p)
	}
	config["include"] = include
	return config, nil
}
