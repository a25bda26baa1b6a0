package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/cadvisor/lib/manager"
	"github.com/google/cadvisor/lib/model"
)

// samples tells how often each Docker container was really read, because a slow
// reader is a cheap one: the number of samples in memory that are younger than
// the query's `last` (a Go duration), by container id.
func samples(m manager.Manager) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last, err := time.ParseDuration(r.FormValue("last"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		since := time.Now().Add(-last)
		all, err := m.AllDockerContainers(&model.ContainerInfoRequest{NumStats: -1, Start: since})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		counts := make(map[string]int, len(all))
		for _, c := range all {
			counts[c.Id] = len(c.Stats)
		}
		_ = json.NewEncoder(w).Encode(counts) // the client may have gone
	})
}
