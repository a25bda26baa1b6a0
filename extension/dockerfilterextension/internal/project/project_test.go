package project_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
)

var idA, idB = strings.Repeat("a1", 32), strings.Repeat("b2", 32)

func TestNumbersPassByteForByte(t *testing.T) {
	rules := compile(t, project.Options{})
	for _, number := range []string{
		"0", "-1", "9007199254740993", "18446744073709551615", "123456789012345678901234567890", "1.50", "1e3", "-0",
	} {
		text := `{"memory_stats":{"usage":` + number + `,"stats":{"file":` + number + `}},"id":"` + idA + `"}` + "\n"
		if got := show(t, text, project.View{Kind: project.ContainerStats, Rules: rules}); got != text {
			t.Errorf("got %s, want %s", got, text)
		}
	}
}

// TestShape: what is not as the tables say must not be guessed.
func TestShape(t *testing.T) {
	view := project.View{Kind: project.ContainerInspect, Rules: compile(t, project.Options{})}
	f := func(text string) {
		t.Helper()
		out, stats, err := projectText([]byte(text), view)
		if !errors.Is(err, project.ErrShape) || out != "" || stats.Written != 0 {
			t.Errorf("%s: %q, %d bytes, error %v", text, out, stats.Written, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the answer: %v", err)
		}
	}
	id := `"Id":"` + idA + `"`
	f(`{` + id + `,"Config":{"Env":"A=hunter2"}}`)
	f(`{` + id + `,"Config":{"Env":["A=hunter2",7]}}`)
	f(`{` + id + `,"Config":{"Env":[["A=hunter2"]]}}`)
	f(`{` + id + `,"Config":{"Env":{"A":"hunter2"}}}`)
	f(`{` + id + `,"Config":["hunter2"]}`)
	f(`{` + id + `,"Config":{"Labels":["a=hunter2"]}}`)
	f(`{` + id + `,"Config":{"Labels":{"a":{"b":"hunter2"}}}}`)
	f(`{` + id + `,"Config":{"Cmd":"sh -c hunter2"}}`)
	f(`{` + id + `,"Args":"hunter2"}`)
	f(`{` + id + `,"State":{"Pid":"hunter2"}}`)
	f(`{` + id + `,"State":{"Running":"hunter2"}}`)
	f(`{` + id + `,"NetworkSettings":{"Networks":[{"NetworkID":"hunter2"}]}}`)
	f(`{` + id + `,"Mounts":{"hunter2":1}}`)
	f(`{` + id + `,"Name":{"hunter2":1}}`)
	f(`{` + id + `,"Name":"a","Name":"hunter2"}`) // twice: which one counts?
	f(`{"Name":"hunter2"}`)                       // no id
	f(`{"Id":"","Name":"hunter2"}`)
	f(`{"Id":"../hunter2"}`)
	f(`{"Id":null}`)
	f(`{` + id + `} {"Id":"hunter2"}`)
	f(`{` + id + `}]`)
	f(`[{` + id + `}]x`)
	f(`{` + id + `,"hunter2":\x}`)
	f(`{` + id + `,"Name":"` + "\xff" + `hunter2"}`)
	f(`"hunter2"`)
	f(`null`)
	f(`<html>hunter2</html>`)
	view.Kind = project.ContainerTop
	f(`{"Processes":[["1","0","0","sh","hunter2"]],"Titles":["PID","PPID","UID","COMMAND"]}`)
	f(`{"Processes":[["root","0","0","hunter2"]],"Titles":["USER","PPID","UID","COMMAND"]}`)
	f(`{"Processes":[["1","0"]]}`)
}

// TestTruncated cuts bodies everywhere: the end must never look well-formed.
func TestTruncated(t *testing.T) {
	rules := compile(t, project.Options{})
	for _, b := range bodies(t) {
		whole := bytes.TrimSpace(b.text)
		if b.kind == project.Event {
			whole, _, _ = bytes.Cut(whole, []byte("\n"))
		}
		for end := range len(whole) {
			if end == 0 && b.kind == project.Event {
				continue // a stream may well be empty
			}
			out, _, err := projectText(whole[:end], project.View{Kind: b.kind, Rules: rules})
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s cut at %d: error %v", b.file, end, err)
			}
			if json.Valid([]byte(out)) {
				t.Fatalf("%s cut at %d ends well-formed: %s", b.file, end, out)
			}
		}
	}
}

// TestBrokenSource: errors of the connection come through, one with bytes, too.
func TestBrokenSource(t *testing.T) {
	broken := errors.New("connection reset")
	view := project.View{Kind: project.ContainerSummary, Rules: compile(t, project.Options{})}
	element := `{"Id":"` + idA + `"}`
	for _, text := range []string{"", "[", "[" + element, "[" + element + ",", "[" + element + "]"} {
		src := iotest.DataErrReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)))
		var out bytes.Buffer
		if _, err := project.List(&out, src, view); !errors.Is(err, broken) {
			t.Errorf("after %q: %v", text, err)
		}
		if json.Valid(out.Bytes()) {
			t.Errorf("after %q: well-formed: %s", text, out.Bytes())
		}
	}
}

func TestBrokenDestination(t *testing.T) {
	broken := errors.New("client gone")
	view := project.View{Kind: project.Event, Rules: compile(t, project.Options{})}
	_, err := project.Stream(writer(func([]byte) (int, error) { return 0, broken }),
		strings.NewReader(`{"Type":"daemon","Action":"reload"}`), view)
	require.ErrorIs(t, err, broken)
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestTooLarge: an element may have 16 MiB, a body any number of them, and what
// is left out does not count.
func TestTooLarge(t *testing.T) {
	rules := compile(t, project.Options{})
	element := func(label int) string {
		return `{"Id":"` + idA + `","Labels":{"` + strings.Repeat("k", 40) + `":"` + strings.Repeat("v ", label/2) + `"}}`
	}
	_, stats, err := projectText([]byte("["+element(project.MaxElement)+"]"),
		project.View{Kind: project.ContainerSummary, Rules: rules})
	require.ErrorIs(t, err, project.ErrTooLarge)
	require.Zero(t, stats.Written)

	big := element(project.MaxElement / 2)
	_, stats, err = projectText([]byte("["+big+","+big+","+big+"]"), project.View{Kind: project.ContainerSummary, Rules: rules})
	require.NoError(t, err)
	require.Equal(t, 3, stats.Elements)

	cache := strings.Repeat(`{"ID":"x","Description":"RUN curl"},`, project.MaxElement/20)
	text := `{"LayersSize":7,"BuildCache":[` + cache + `{}],"BuilderSize":8}`
	require.Equal(t, `{"LayersSize":7,"BuilderSize":8}`+"\n", show(t, text, project.View{Kind: project.DiskUsage, Rules: rules}))
}

func TestEmptyList(t *testing.T) {
	view := project.View{Kind: project.Network, Rules: compile(t, project.Options{})}
	for _, text := range []string{"[]", "null", " [ ] \n"} {
		var out bytes.Buffer
		_, err := project.List(&out, strings.NewReader(text), view)
		require.NoError(t, err)
		require.Equal(t, "[]\n", out.String())
	}
}

// flusher counts what reached the client at each flush.
type flusher struct {
	bytes.Buffer
	at []int
}

func (f *flusher) Flush() { f.at = append(f.at, f.Len()) }

// TestStreamFlushesEachLine gives the stream byte by byte and expects a line
// before the first byte of the next one was asked for.
func TestStreamFlushesEachLine(t *testing.T) {
	line := `{"Type":"daemon","Action":"reload","time":1}`
	var out flusher
	var before []int
	src := readerFunc(func(p []byte) (int, error) {
		before = append(before, out.Len())
		if len(before) > 3 {
			return 0, io.EOF
		}
		return copy(p, line[:copy(p, line)]), nil
	})
	_, err := project.Stream(&out, src, project.View{Kind: project.Event, Rules: compile(t, project.Options{})})
	require.NoError(t, err)
	require.Equal(t, strings.Repeat(line+"\n", 3), out.String())
	n := len(line) + 1
	require.Equal(t, []int{0, n, 2 * n, 3 * n}, before)
	require.Equal(t, []int{n, 2 * n, 3 * n}, out.at)
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

func TestUnknownKindAndNoRules(t *testing.T) {
	_, err := project.Object(io.Discard, strings.NewReader("{}"), project.View{Kind: "cpu", Rules: compile(t, project.Options{})})
	require.Error(t, err)
	_, err = project.Object(io.Discard, strings.NewReader("{}"), project.View{Kind: project.Info})
	require.Error(t, err)
}

// TestFieldsAreBounded: what is counted was named by the tables.
func TestFieldsAreBounded(t *testing.T) {
	rules := compile(t, project.Options{Swarm: true})
	known := map[string]bool{}
	for _, field := range rules.Fields() {
		known[field] = true
	}
	for _, b := range bodies(t) {
		_, stats, err := projectText(b.text, project.View{Kind: b.kind, Rules: rules})
		require.NoError(t, err)
		for field := range stats.Redacted {
			if !known[field] {
				t.Errorf("%s: %q is not in Fields", b.file, field)
			}
		}
	}
}

func TestEnv(t *testing.T) {
	rules := compile(t, project.Options{EnvAllow: []string{"DD_*", "OTEL_RESOURCE_ATTRIBUTES", "URL"}})
	f := func(entry, want string) {
		t.Helper()
		text, err := json.Marshal(map[string]any{"Config": map[string]any{"Env": []string{entry}}})
		require.NoError(t, err)
		var got struct{ Config struct{ Env []string } }
		require.NoError(t, json.Unmarshal([]byte(show(t, string(text), project.View{Kind: project.ImageInspect, Rules: rules})), &got))
		if diff := cmp.Diff(want, strings.Join(got.Config.Env, "|")); diff != "" {
			t.Errorf("%s: -want +got\n%s", entry, diff)
		}
	}
	f("PASSWORD=x", "PASSWORD=***")
	f("EMPTY=", "EMPTY=***")
	f("DD_ENV=prod", "DD_ENV=prod")
	f("DD_ENV=", "DD_ENV=")
	f("DD_TEXT=a=b \"c\" <é>", "DD_TEXT=a=b \"c\" <é>")
	f("dd_env=prod", "dd_env=***")
	f("URL=http://db:5432/x", "URL=http://db:5432/x")
	f("URL=http://u:p@db:5432/x", "URL=***")
	f("TAKEN_AWAY", "")
	f("=x", "")
	f("two words=x", "")
	f("Zk3Tq9LmX7vB2nRc5WdYh8JpFs4GtQa6=x", "")
	f("OTEL_RESOURCE_ATTRIBUTES=", "OTEL_RESOURCE_ATTRIBUTES=")
	f("OTEL_RESOURCE_ATTRIBUTES=a=b,deployment.environment=prod", "OTEL_RESOURCE_ATTRIBUTES=a=b,deployment.environment=prod")
	f("OTEL_RESOURCE_ATTRIBUTES=a=b,api.token=x,c=d", "OTEL_RESOURCE_ATTRIBUTES=a=b,api.token=***,c=d")
	f("OTEL_RESOURCE_ATTRIBUTES=url=a%3A%2F%2Fu%3Ap%40h,c=d", "OTEL_RESOURCE_ATTRIBUTES=url=***,c=d")
	f("OTEL_RESOURCE_ATTRIBUTES=bad=%zz,x,c=d", "OTEL_RESOURCE_ATTRIBUTES=bad=***,c=d")
	f("OTEL_RESOURCE_ATTRIBUTES=k=Zk3Tq9LmX7vB2nRc5WdYh8JpFs4GtQa6", "OTEL_RESOURCE_ATTRIBUTES=k=***")
	f("OTEL_RESOURCE_ATTRIBUTES=container.id="+idA, "OTEL_RESOURCE_ATTRIBUTES=container.id="+idA)
}

func TestCommand(t *testing.T) {
	rules := compile(t, project.Options{})
	f := func(command, want string) {
		t.Helper()
		text, err := json.Marshal([]any{map[string]any{"Id": idA, "Command": command}})
		require.NoError(t, err)
		var got []struct{ Command string }
		require.NoError(t, json.Unmarshal([]byte(show(t, string(text), project.View{Kind: project.ContainerSummary, Rules: rules})), &got))
		require.Equal(t, want, got[0].Command, command)
	}
	f("nginx -g 'daemon off;'", "nginx")
	f("  sh -c x", "sh")
	f("/usr/bin/my-program-with-a-long-name-in-many-words", "/usr/bin/my-program-with-a-long-name-in-many-words")
	f("sh\t-c", "sh")
	f("", "")
	f("KEY=value sh", "***")
	f("--password", "***")
	f("/run/Zk3Tq9LmX7vB2nRc5WdYh8JpFs4GtQa6", "***")
	f("/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-hello-2.12/bin/hello -g", "/nix/store/s66mzxpvicwk07gjbjfw9izjfa797vsw-hello-2.12/bin/hello")

	g := func(path, entrypoint, cmd, want string) {
		t.Helper()
		text := `{"Id":"` + idA + `","Path":"` + path + `","Config":{"Cmd":` + cmd + `,"Entrypoint":` + entrypoint + `}}`
		out := show(t, text, project.View{Kind: project.ContainerInspect, Rules: rules})
		_, got, _ := strings.Cut(strings.TrimSpace(out), `"Config":`)
		require.Equal(t, want+"}", got)
	}
	g("sh", "null", `["sh","-c","x"]`, `{"Cmd":["sh"],"Entrypoint":null}`)
	g("redis-cli", `["redis-cli","-a"]`, `["hunter2"]`, `{"Cmd":[],"Entrypoint":["redis-cli"]}`)
	g("", "[]", `["hunter2"]`, `{"Cmd":[],"Entrypoint":[]}`)
}

func TestErrorCode(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		out := show(t, `{"Id":"`+idA+`","State":{"Error":"`+text+`"}}`,
			project.View{Kind: project.ContainerInspect, Rules: compile(t, project.Options{})})
		require.Equal(t, `{"Id":"`+idA+`","State":{"Error":"`+want+`"}}`+"\n", out)
	}
	f("", "")
	f(`exec: \"hunter2\": Executable file not found in $PATH: unknown`, "executable_not_found")
	f("driver failed programming: Bind for 0.0.0.0:80 failed: port is already allocated", "port_in_use")
	f("hunter2", "error")
}
