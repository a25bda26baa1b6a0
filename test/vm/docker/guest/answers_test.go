package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var errAnswer = errors.New("not an answer")

// parseDoctor returns the status of each check of `tallymanctl doctor --json`.
func parseDoctor(text []byte) (map[string]string, error) {
	var report struct {
		Checks []struct{ Name, Status string }
	}
	err := json.Unmarshal(text, &report)
	if err != nil {
		return nil, fmt.Errorf("parse doctor's report: %w", err)
	}
	if len(report.Checks) == 0 {
		return nil, fmt.Errorf("parse doctor's report: %w: no checks", errAnswer)
	}
	statuses := map[string]string{}
	for _, check := range report.Checks {
		statuses[check.Name] = check.Status
	}
	return statuses, nil
}

// parseSamples reads the answer to a PromQL query for raw samples: the values of each series in the order of time.
func parseSamples(text []byte) ([][]float64, error) {
	var answer struct {
		Data struct {
			ResultType string
			Result     []struct{ Values [][2]any }
		}
	}
	err := json.Unmarshal(text, &answer)
	if err != nil {
		return nil, fmt.Errorf("parse samples: %w", err)
	}
	if answer.Data.ResultType != "matrix" {
		return nil, fmt.Errorf("parse samples: %w: %.200s", errAnswer, text)
	}
	var all [][]float64
	for _, series := range answer.Data.Result {
		var values []float64
		for _, point := range series.Values {
			value, err := strconv.ParseFloat(fmt.Sprint(point[1]), 64)
			if err != nil {
				return nil, fmt.Errorf("parse sample: %w", err)
			}
			values = append(values, value)
		}
		all = append(all, values)
	}
	return all, nil
}

// sumOfLives adds up counters that begin at 0 in each life of the agent.
func sumOfLives(all [][]float64) (total float64) {
	for _, values := range all {
		for i, value := range values {
			if i+1 == len(values) || values[i+1] < value {
				total += value
			}
		}
	}
	return total
}

// dressed makes of the agent's unit one that runs another command in the same clothes, once, and keeps what it prints.
func dressed(unit, command, output string) string {
	var lines []string
	for line := range strings.Lines(unit) {
		key, _, _ := strings.Cut(line, "=")
		switch key {
		case "Type", "ExecStart", "ExecReload", "Restart", "RestartSec", "FileDescriptorStoreMax", "NotifyAccess":
			continue
		}
		if strings.HasPrefix(line, "[Install]") {
			break
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "") + "Type=oneshot\nExecStart=" + command + "\nStandardOutput=truncate:" + output + "\n"
}

func TestParseDoctor(t *testing.T) {
	got, err := parseDoctor([]byte(`{"checks":[{"name":"a","status":"pass"},{"name":"b","status":"warn"}],"summary":{"pass":1}}`))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "pass", "b": "warn"}, got)
	for _, text := range []string{"", "{}", `{"checks":[]}`} {
		_, err = parseDoctor([]byte(text))
		require.Error(t, err, text)
	}
}

func TestParseSamples(t *testing.T) {
	got, err := parseSamples([]byte(`{"status":"success","data":{"resultType":"matrix","result":[
		{"metric":{"__name__":"x"},"values":[[1,"10"],[2,"25"],[3,"5"]]},{"metric":{},"values":[[1,"1"]]}]}}`))
	require.NoError(t, err)
	require.Equal(t, [][]float64{{10, 25, 5}, {1}}, got)
	require.InDelta(t, 31, sumOfLives(got), 0)
	require.Zero(t, sumOfLives(nil))
	for _, text := range []string{"", `{"status":"error"}`, `{"data":{"resultType":"matrix","result":[{"values":[[1,"x"]]}]}}`} {
		_, err = parseSamples([]byte(text))
		require.Error(t, err, text)
	}
}

func TestDressed(t *testing.T) {
	got := dressed("[Unit]\nDescription=x\n[Service]\nType=exec\nExecStart=/usr/bin/tallyman\nUMask=0027\n[Install]\nWantedBy=a.target\n", "/bin/true", "/out")
	require.Equal(t, "[Unit]\nDescription=x\n[Service]\nUMask=0027\nType=oneshot\nExecStart=/bin/true\nStandardOutput=truncate:/out\n", got)
}

// Counters never add up to less than the last of each.
func FuzzParseSamples(f *testing.F) {
	f.Add([]byte(`{"data":{"resultType":"matrix","result":[{"values":[[1,"10"],[2,"5"]]}]}}`))
	f.Add([]byte(`{"data":{"resultType":"matrix","result":[{"values":[[1,null]]}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parseSamples(text)
		if err != nil {
			return
		}
		var last float64
		for _, values := range all {
			for _, value := range values {
				if value < 0 || value > 1e9 || value != value {
					return
				}
			}
			if len(values) > 0 {
				last += values[len(values)-1]
			}
		}
		if total := sumOfLives(all); total < last {
			t.Errorf("%v of %q is less than %v", total, text, last)
		}
	})
}
