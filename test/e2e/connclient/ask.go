package main

import (
	"context"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ask makes the connections, some at a time.
func ask(ctx context.Context, o options, all *reports) error {
	var next atomic.Int64
	var asking sync.WaitGroup
	for range o.atOnce {
		asking.Go(func() {
			for i := int(next.Add(1)) - 1; i < o.count && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				all.add(askOnce(ctx, o, o.first+i))
			}
		})
	}
	asking.Wait()
	select {
	case <-time.After(o.linger):
	case <-ctx.Done():
	}
	return nil
}

func askOnce(ctx context.Context, o options, number int) report {
	var got report
	conn, err := dial(ctx, o)
	if err != nil {
		got.Error = reason(err)
		return got
	}
	got.Local, got.Remote = conn.LocalAddr().String(), conn.RemoteAddr().String()
	r := numbered(number, o.spread)
	// A server that has closed could not be reset any more.
	r.closeFirst = r.closeFirst && !o.reset
	if err := exchange(conn, r, &got); err != nil {
		got.Error = reason(err)
	}
	if o.reset {
		_ = conn.SetLinger(0)
	}
	_ = conn.Close()
	return got
}

// dial waits as long as the kernel does.
func dial(ctx context.Context, o options) (*net.TCPConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", o.address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil // what "tcp" is
}

// hold sends the request of the first number at once and with each signal.
func hold(ctx context.Context, o options, all *reports) error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGUSR1)
	conn, err := dial(ctx, o)
	if err != nil {
		return err
	}
	got := report{Local: conn.LocalAddr().String(), Remote: conn.RemoteAddr().String()}
	r := numbered(o.first, o.spread)
	r.closeFirst = false
	for ctx.Err() == nil {
		if err := exchange(conn, r, &got); err != nil {
			got.Error = reason(err)
			break
		}
		select {
		case <-again:
		case <-ctx.Done():
		}
	}
	err = conn.Close()
	all.add(got)
	return err
}
