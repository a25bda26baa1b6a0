package project_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
)

// list200 is a list of 200 containers, 286 KB as in the notes: containers of a
// compose project with some labels, ports, networks and mounts.
func list200(t testing.TB) []byte {
	t.Helper()
	const containers, size = 200, 286_000
	var list bytes.Buffer
	list.WriteByte('[')
	for i := range containers {
		if i > 0 {
			list.WriteByte(',')
		}
		begin := list.Len()
		fmt.Fprintf(&list, `{"Id":"%064x","Names":["/shop-web-%d"],"Image":"registry.example/shop/web:1.%d",`+
			`"ImageID":"sha256:%064x","Command":"/docker-entrypoint.sh nginx -g 'daemon off;'","Created":1735732800,`+
			`"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":%d,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":%d,"Type":"tcp"}],`+
			`"State":"running","Status":"Up 2 hours (healthy)","HostConfig":{"NetworkMode":"shop_default"},`+
			`"NetworkSettings":{"Networks":{"shop_default":{"IPAMConfig":null,"Links":null,"Aliases":null,"NetworkID":"%064x",`+
			`"EndpointID":"%064x","Gateway":"172.18.0.1","IPAddress":"172.18.0.7","IPPrefixLen":16,"IPv6Gateway":"",`+
			`"GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"MacAddress":"02:42:ac:12:00:07","DriverOpts":null}}},`+
			`"Mounts":[{"Type":"volume","Name":"shop_data","Source":"/var/lib/docker/volumes/shop_data/_data",`+
			`"Destination":"/data","Driver":"local","Mode":"z","RW":true,"Propagation":""}],`,
			i+1, i, i, i+2, 8000+i, 8000+i, i+3, i+4)
		list.WriteString(`"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web",` +
			`"com.docker.compose.project.working_dir":"/srv/shop","com.docker.compose.oneoff":"False"`)
		for label := 0; list.Len()-begin < size/containers-10; label++ {
			text := fmt.Sprintf(`,"com.example.label.%d":"`, label)
			room := max(size/containers-10-(list.Len()-begin)-len(text), 4)
			list.WriteString(text + strings.Repeat("word ", 8)[:min(room, 40)] + `"`)
		}
		list.WriteString("}}")
	}
	list.WriteByte(']')
	require.InDelta(t, size, list.Len(), size/50)
	return list.Bytes()
}

func inspect(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/1.41/container.inspect.json")
	require.NoError(t, err)
	return text
}

func BenchmarkList200(b *testing.B) {
	benchmark(b, project.List, project.ContainerSummary, list200(b))
}

func BenchmarkInspect(b *testing.B) {
	benchmark(b, project.Object, project.ContainerInspect, inspect(b))
}

func benchmark(b *testing.B, by func(io.Writer, io.Reader, project.View) (project.Stats, error), kind project.Kind, text []byte) {
	view := project.View{Kind: kind, Rules: compile(b, project.Options{})}
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	src := bytes.NewReader(nil)
	for b.Loop() {
		src.Reset(text)
		if _, err := by(io.Discard, src, view); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		compile(b, project.Options{})
	}
}

// TestMemoryBudget bounds what a projection takes from the heap when nothing is
// kept from an earlier one. All of it together is more than what is live at any
// time, so the 64 KiB for a list of 200 containers hold if this does.
func TestMemoryBudget(t *testing.T) {
	f := func(by func(io.Writer, io.Reader, project.View) (project.Stats, error), kind project.Kind, text []byte, budget uint64) {
		t.Helper()
		view := project.View{Kind: kind, Rules: compile(t, project.Options{})}
		src := bytes.NewReader(text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := by(io.Discard, src, view)
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		used := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s, %d bytes: %d bytes in %d allocations", kind, len(text), used, after.Mallocs-before.Mallocs)
		if used > budget {
			t.Errorf("%s took %d bytes, more than %d", kind, used, budget)
		}
	}
	f(project.List, project.ContainerSummary, list200(t), 64<<10)
	f(project.Object, project.ContainerInspect, inspect(t), 64<<10)
}
