package sockdiag_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tallymanhq/tallyman/internal/sockdiag"
)

// Connections are asked for only if there are any, which is asked when it is known
// how many sockets listen.
func TestConnectionsThatAreNotAskedFor(t *testing.T) {
	l := listen(t, "tcp4", "127.0.0.1:0")
	client, _ := pair(t, l)
	told, has := 0, false
	look := func() *sockdiag.Sockets {
		all, err := sockdiag.Dump(nil, sockdiag.Options{HasConns: func(listeners int) bool {
			told = listeners
			return has
		}})
		require.NoError(t, err)
		return all
	}
	all := look()
	require.NotNil(t, listener(all, l))
	require.Len(t, all.Listeners, told)
	require.Empty(t, all.Conns)
	has = true
	require.NotNil(t, conn(look(), client))
}
