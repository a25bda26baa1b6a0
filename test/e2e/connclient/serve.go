package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// serve answers until ctx ends, and then until the last client has closed.
func serve(ctx context.Context, o options, all *reports) error {
	listener, err := net.Listen("tcp", o.address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	if o.ready != "" {
		if err := os.WriteFile(o.ready, nil, 0o600); err != nil {
			return err
		}
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		serving.Go(func() { answer(conn, all) })
	}
}

// answer serves one connection to its end.
func answer(conn net.Conn, all *reports) {
	got := report{Local: conn.LocalAddr().String(), Remote: conn.RemoteAddr().String()}
	for {
		r, n, err := receive(conn)
		got.Received += n
		if err == nil {
			var sent int
			sent, err = conn.Write(make([]byte, r.reply))
			got.Sent += int64(sent)
		}
		if err != nil || r.closeFirst {
			if err != nil && !errors.Is(err, io.EOF) {
				got.Error = reason(err)
			}
			break
		}
	}
	_ = conn.Close()
	all.add(got)
}
