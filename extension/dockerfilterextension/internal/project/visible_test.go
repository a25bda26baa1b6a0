package project_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/extension/dockerfilterextension/internal/project"
)

func TestVisibleList(t *testing.T) {
	text := `[{"Id":"` + idA + `","Names":["/a"],"HostConfig":{"NetworkMode":"container:` + idB + `"}},` +
		`{"Names":["/b"],"Id":"` + idB + `","Image":"x"}]`
	f := func(visible project.Visible, hidden int, want string) {
		t.Helper()
		out, stats, err := projectText([]byte(text), project.View{
			Kind: project.ContainerSummary, Rules: compile(t, project.Options{}), Visible: visible,
		})
		require.NoError(t, err)
		require.Equal(t, want+"\n", out)
		require.Equal(t, hidden, stats.Hidden)
	}
	f(nil, 0, text)
	f(only{idA, idB}, 0, text)
	f(only{idA}, 1, `[{"Id":"`+idA+`","Names":["/a"],"HostConfig":{"NetworkMode":"container:***"}}]`)
	f(only{idB}, 1, `[{"Names":["/b"],"Id":"`+idB+`","Image":"x"}]`)
	f(only{}, 2, `[]`)
}

func TestVisibleObject(t *testing.T) {
	view := project.View{Kind: project.ContainerInspect, Rules: compile(t, project.Options{}), Visible: only{idB}}
	out, stats, err := projectText([]byte(`{"Id":"`+idA+`","Name":"/a"}`), view)
	require.ErrorIs(t, err, project.ErrHidden)
	require.Empty(t, out)
	require.Zero(t, stats.Written)

	view.Kind, view.Volume = project.Volume, func(name string) bool { return name == "seen" }
	require.Equal(t, `{"Name":"seen"}`+"\n", show(t, `{"Name":"seen"}`, view))
	_, _, err = projectText([]byte(`{"Name":"other"}`), view)
	require.ErrorIs(t, err, project.ErrHidden)
	view.Kind = project.VolumeList
	require.Equal(t, `{"Volumes":[{"Name":"seen"}]}`+"\n",
		show(t, `{"Volumes":[{"Name":"other"},{"Name":"seen"},{"Name":"another"}],"Warnings":["x"]}`, view))
}

// TestVisibleDiskUsage: what comes after a hidden element is not hidden with it.
func TestVisibleDiskUsage(t *testing.T) {
	text := `{"Containers":[{"Id":"` + idA + `"},{"Id":"` + idB + `"}],"Volumes":[],"BuilderSize":7}`
	view := project.View{Kind: project.DiskUsage, Rules: compile(t, project.Options{}), Visible: only{idA}}
	require.Equal(t, `{"Containers":[{"Id":"`+idA+`"}],"Volumes":[],"BuilderSize":7}`+"\n", show(t, text, view))
}

func TestVisibleNetwork(t *testing.T) {
	text := `[{"Name":"n","Containers":{"` + idA + `":{"Name":"a"},"` + idB + `":{"Name":"b"},"ep-` + idA + `":{"Name":"e"}}}]`
	view := project.View{Kind: project.Network, Rules: compile(t, project.Options{}), Visible: only{idB}}
	require.Equal(t, `[{"Name":"n","Containers":{"`+idB+`":{"Name":"b"}}}]`+"\n", show(t, text, view))
	view.Visible = nil
	require.Equal(t, text+"\n", show(t, text, view))
}

func TestVisibleInfo(t *testing.T) {
	const text = `{"Containers":9,"ContainersRunning":8,"ContainersPaused":7,"ContainersStopped":6,"Images":5}`
	view := project.View{Kind: project.Info, Rules: compile(t, project.Options{})}
	require.Equal(t, text+"\n", show(t, text, view))
	view.Visible = only{}
	require.Equal(t, `{"Images":5}`+"\n", show(t, text, view))
	view.Counters = func() project.Counters {
		return project.Counters{Containers: 4, Running: 3, Paused: 2, Stopped: 1}
	}
	require.Equal(t, `{"Containers":4,"ContainersRunning":3,"ContainersPaused":2,"ContainersStopped":1,"Images":5}`+"\n",
		show(t, text, view))
}

func TestVisibleTask(t *testing.T) {
	text := `{"ID":"x1","Status":{"ContainerStatus":{"ContainerID":"` + idA + `","PID":7}}}`
	view := project.View{Kind: project.Task, Rules: compile(t, project.Options{Swarm: true}), Visible: only{}}
	require.Equal(t, `{"ID":"x1","Status":{"ContainerStatus":{"PID":7}}}`+"\n", show(t, text, view))
}

func TestEvents(t *testing.T) {
	view := project.View{Kind: project.Event, Rules: compile(t, project.Options{}), Visible: only{idA}}
	f := func(text, want string) {
		t.Helper()
		if want != "" {
			want += "\n"
		}
		require.Equal(t, want, show(t, text, view), text)
	}
	same := func(text string) { t.Helper(); f(text, text) }
	same(`{"Type":"container","Action":"start","Actor":{"ID":"` + idA + `","Attributes":{"name":"a"}},"timeNano":1735732800123456789}`)
	f(`{"Type":"container","Action":"start","Actor":{"ID":"`+idB+`","Attributes":{"name":"b"}}}`, "")
	f(`{"Type":"container","Action":"start"}`, "")
	f(`{"id":"`+idA+`","Type":"container","Action":"start","Actor":{"ID":"`+idB+`"}}`, "")
	f(`{"id":"`+idB+`","Type":"container","Action":"start","Actor":{"ID":"`+idA+`"}}`, "")
	f(`{"status":"start","id":"`+idA+`"}`, "") // no type
	f(`{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"`+idB+`"}}}`, "")
	same(`{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"` + idA + `"}}}`)
	same(`{"Type":"image","Action":"pull","Actor":{"ID":"x:1"}}`)
	f(`{"Type":"secret","Action":"create"}`, "")
	f(`{"Type":"new","Action":"create"}`, "")
	// Attributes of an unknown type of object are no labels.
	f(`{"Actor":{"ID":"`+idA+`","Attributes":{"name":"a","team":"b"}},"Type":"container"}`,
		`{"Actor":{"ID":"`+idA+`","Attributes":{"name":"a"}},"Type":"container"}`)

	view.Visible = nil
	f(`{"status":"exec_start: sh -c hunter2","Type":"container","Action":"exec_start: sh -c hunter2","Actor":{"ID":"`+idB+
		`","Attributes":{"execID":"hunter2","exitCode":"137","signal":"hunter2","team":"x"}}}`,
		`{"status":"exec_start","Type":"container","Action":"exec_start","Actor":{"ID":"`+idB+
			`","Attributes":{"exitCode":"137","team":"x"}}}`)
	same(`{"Type":"container","Action":"health_status: unhealthy"}`)
	f(`{"Type":"container","Action":"health_status: hunter2"}`, `{"Type":"container","Action":"health_status"}`)
	f(`{"Type":"container","Action":"new_one: hunter2"}`, `{"Type":"container","Action":"new_one"}`)

	view.Volume = func(name string) bool { return name == "seen" }
	same(`{"Type":"volume","Action":"create","Actor":{"ID":"seen"}}`)
	f(`{"Type":"volume","Action":"create","Actor":{"ID":"other"}}`, "")
	view.Rules = compile(t, project.Options{Swarm: true})
	same(`{"Type":"secret","Action":"create"}`)
}

// TestEventIsNotRemembered: one event's type must not count for the next.
func TestEventIsNotRemembered(t *testing.T) {
	view := project.View{Kind: project.Event, Rules: compile(t, project.Options{}), Visible: only{idA}}
	text := `{"Type":"container","Action":"start","Actor":{"ID":"` + idA + `"}}` + "\n" + `{"Action":"start"}`
	require.Equal(t, 1, strings.Count(show(t, text, view), "\n"))
}
