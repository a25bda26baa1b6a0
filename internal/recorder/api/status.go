package api

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

func (s *Server) status(w http.ResponseWriter, _ *http.Request) *failure {
	status := Status{Health: HealthOK}
	if s.o.Agent != nil {
		status = s.o.Agent.Status()
	}
	status.Mode, status.Now = "live", At(s.o.Now())
	status.Messages = notNil(status.Messages)
	if s.o.Opened != nil {
		status.Mode, status.ReadOnly = "capture", true
		status.Capture = &wholeCaptures([]Capture{*s.o.Opened})[0]
	}
	return writeJSON(w, http.StatusOK, status)
}

func (s *Server) agent(w http.ResponseWriter, _ *http.Request) *failure {
	if s.o.Agent == nil {
		return notFound("there is no agent here")
	}
	a := s.o.Agent.Agent()
	a.API = s.Stats()
	for _, counts := range []*Counts{
		&a.Metrics.Bytes, &a.Metrics.Dropped, &a.Events.Bytes, &a.Events.Dropped,
		&a.Entities.Dropped, &a.Captures.Dropped, &a.Queue.Dropped,
	} {
		if *counts == nil {
			*counts = Counts{}
		}
	}
	a.Recovery.Repaired, a.TopMetrics = notNil(a.Recovery.Repaired), notNil(a.TopMetrics)
	return writeJSON(w, http.StatusOK, a)
}

// maxStateFiles is far above the files of a capture: some per container.
const maxStateFiles = 10_000

func (s *Server) stateFiles(w http.ResponseWriter, _ *http.Request) *failure {
	if s.o.State == nil {
		return notFound("there is no state here: open a capture")
	}
	files := []string{}
	err := fs.WalkDir(s.o.State, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case len(files) == maxStateFiles:
			return fs.SkipAll
		case entry.Type().IsRegular():
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return internal(err)
	}
	return writeJSON(w, http.StatusOK, map[string][]string{"files": files})
}

// stateFile sends a file as data, never as a page: its content comes from whatever
// ran on the host.
func (s *Server) stateFile(w http.ResponseWriter, r *http.Request) *failure {
	name := r.PathValue("path")
	if s.o.State == nil || !fs.ValidPath(name) {
		return notFound("there is no such file")
	}
	file, err := s.o.State.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return notFound("there is no such file")
	}
	if err != nil {
		return internal(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return internal(err)
	}
	if !info.Mode().IsRegular() {
		return notFound("there is no such file")
	}
	kind := "text/plain; charset=utf-8"
	if strings.EqualFold(path.Ext(name), ".json") {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	if _, err := io.Copy(w, file); err != nil {
		panic(http.ErrAbortHandler) // what is sent is not whole
	}
	return nil
}
