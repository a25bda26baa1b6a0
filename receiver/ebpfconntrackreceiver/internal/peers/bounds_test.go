package peers

import (
	"encoding/binary"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a namespace has beyond the bounds is counted.
func TestBounds(t *testing.T) {
	for _, over := range []int{0, 1, 5} {
		r := &routing{nltest.Dial(func(req []netlink.Message) ([]netlink.Message, error) {
			if len(req) == 0 {
				return nil, nil
			}
			header, count := ifaddrmsg(unix.AF_INET, 32, 7), maxAddresses+over
			fill := func(e *netlink.AttributeEncoder) { e.Bytes(unix.IFA_LOCAL, []byte{10, 0, 0, 2}) }
			if req[0].Header.Type == unix.RTM_GETLINK {
				header, count = make([]byte, linkHeader), maxLinks+2*over
				fill = func(e *netlink.AttributeEncoder) { e.Uint32(unix.IFLA_MASTER, 3) }
			}
			var all []netlink.Message
			for i := range count {
				binary.NativeEndian.PutUint32(header[4:], uint32(i))
				h := netlink.Header{Type: req[0].Header.Type, Sequence: req[0].Header.Sequence, PID: nltest.PID}
				all = append(all, netlink.Message{Header: h, Data: encoded(append([]byte{}, header...), fill)})
			}
			return nltest.Multipart(append(all, netlink.Message{
				Header: netlink.Header{Type: netlink.Done, Sequence: req[0].Header.Sequence, PID: nltest.PID},
			}))
		})}
		found, err := r.read()
		require.NoError(t, err)
		require.Len(t, found.addresses, maxAddresses)
		require.Len(t, found.links, maxLinks)
		require.Equal(t, []int{over, 2 * over}, []int{found.overAddresses, found.overLinks})
		r.close()
	}
}
