package containertagprocessor

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// What the sources of container_tag know is on the board of the host's view while
// somebody reads it, and gone from there with the processors.
func TestIdentitiesOnTheBoard(t *testing.T) {
	testkit.VerifyNoLeaks(t)
	board := recognise(t).Identities()
	p := newPipelines(t)
	cores := p.started(p.config(func(c *Config) { c.RootPath, c.Wait = "/", 0 }))
	hub := cores[0].hub
	hub.store.PutContainer("docker", &entity.Container{
		ID: oneID, Name: "cache", Runtime: "docker", Labels: map[string]string{"team": "shop"}, Env: map[string]string{"A": "B"},
	})
	require.Zero(t, board.Stats().Containers, "nobody reads")
	defer board.Subscribe(func(string, *target.Identity) {})()
	testkit.Eventually(t, patience, func() error {
		if got := board.Get(oneID); got == nil || got.Name != "cache" || got.Labels["team"] != "shop" {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	for _, c := range cores {
		require.NotNil(t, board.Get(oneID))
		require.NoError(t, c.Shutdown(t.Context()))
	}
	require.Nil(t, board.Get(oneID))
}
