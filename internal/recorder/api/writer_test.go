package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGzip(t *testing.T) {
	r := newRig(t, func(o *Options) { withStore(t, o) })
	long := "/api/v1/query_range?query=up&start=1700000000&end=1700000059&step=1"
	plain := r.get(long)
	require.Empty(t, plain.header.Get("Content-Encoding"))
	require.Equal(t, "Accept-Encoding", plain.header.Get("Vary"))
	for range 2 { // the second one gets a used writer
		packed := r.get(long, header("Accept-Encoding", "br, gzip;q=0.5"))
		require.Equal(t, "gzip", packed.header.Get("Content-Encoding"))
		require.Less(t, len(packed.body), len(plain.body)/2)
		reader, err := gzip.NewReader(strings.NewReader(packed.body))
		require.NoError(t, err)
		text, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.Equal(t, plain.body, string(text))
	}
	for _, no := range []string{"gzip;q=0", "gzip; q=0.000", "br", "x-gzip2", ""} {
		require.Empty(t, r.get(long, header("Accept-Encoding", no)).header.Get("Content-Encoding"), no)
	}
	short := r.get("/api/v1/query?query=1", header("Accept-Encoding", "gzip"))
	require.Empty(t, short.header.Get("Content-Encoding"))
	require.Equal(t, `{"status":"success","data":{"resultType":"scalar","result":[1700000059,"1"]}}`, short.body)
	failed := r.get("/api/v1/query", header("Accept-Encoding", "gzip"))
	require.Equal(t, http.StatusBadRequest, failed.code)
	require.Equal(t, "bad_data", failed.kind(t))
}

// TestSlowReader stops reading a download: its connection ends, and its place with it.
func TestSlowReader(t *testing.T) {
	captures := newFakeCaptures()
	captures.bundle = bytes.Repeat([]byte("x"), 64<<20) // more than the kernel keeps for both ends
	ended := make(chan struct{})
	r := newRig(t, func(o *Options) {
		o.Captures = endedCaptures{captures, ended}
		o.Limits.Stall = time.Second // it bounds the request's head, too
	})
	conn := dialRaw(t, r)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err := conn.Write([]byte("GET /api/captures/ready/download HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	comes(t, ended, "end of the download")
}

// endedCaptures tells when a bundle is closed.
type endedCaptures struct {
	*fakeCaptures
	ended chan struct{}
}

// Open adds the news.
func (e endedCaptures) Open(id string) (Bundle, error) {
	bundle, err := e.fakeCaptures.Open(id)
	bundle.ReadSeekCloser = closeTeller{bundle.ReadSeekCloser, e.ended}
	return bundle, err
}

type closeTeller struct {
	io.ReadSeekCloser
	ended chan struct{}
}

// Close tells.
func (c closeTeller) Close() error {
	close(c.ended)
	return c.ReadSeekCloser.Close()
}
