package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// A request is a header and as many bytes more as make it as long as it says; a
// reply is bytes only.
const (
	headerSize = 8
	// closeFirst is set in the wanted length of a reply where the server is to
	// close after it.
	closeFirst = 1 << 31
	// longest request or reply that makes sense here.
	longest = 1 << 30
	// stride takes numbers of connections to lengths of replies. It is a prime,
	// so that different numbers have different lengths, and far from 1, so that
	// these do not grow with the requests'.
	stride = 7919
)

var errLength = errors.New("no sensible length")

// request says how long it is itself and how long its reply is to be.
type request struct {
	size, reply int64
	closeFirst  bool
}

// numbered is the request of a connection: lengths no other number has, below
// spread.
func numbered(number, spread int) request {
	return request{
		size: int64(headerSize + number), reply: int64(headerSize + number*stride%spread), closeFirst: number%2 == 1,
	}
}

func (r request) send(conn net.Conn) (int64, error) {
	text := make([]byte, r.size)
	binary.BigEndian.PutUint32(text, uint32(r.size))
	reply := uint32(r.reply)
	if r.closeFirst {
		reply |= closeFirst
	}
	binary.BigEndian.PutUint32(text[4:], reply)
	n, err := conn.Write(text)
	return int64(n), err
}

// receive reads a whole request, and tells how many bytes it has read. io.EOF
// alone is the end of the connection.
func receive(conn net.Conn) (request, int64, error) {
	var header [headerSize]byte
	n, err := io.ReadFull(conn, header[:])
	if err != nil {
		return request{}, int64(n), err
	}
	reply := binary.BigEndian.Uint32(header[4:])
	r := request{
		size: int64(binary.BigEndian.Uint32(header[:])), reply: int64(reply &^ closeFirst), closeFirst: reply&closeFirst != 0,
	}
	if r.size < headerSize || r.size > longest || r.reply > longest {
		return r, int64(n), fmt.Errorf("request of %d bytes for %d: %w", r.size, r.reply, errLength)
	}
	more, err := io.CopyN(io.Discard, conn, r.size-headerSize)
	return r, int64(n) + more, err
}

// exchange sends a request and reads its reply.
func exchange(conn net.Conn, r request, to *report) error {
	n, err := r.send(conn)
	to.Sent += n
	if err != nil {
		return err
	}
	n, err = io.CopyN(io.Discard, conn, r.reply)
	to.Received += n
	if err != nil || !r.closeFirst {
		return err
	}
	n, err = io.Copy(io.Discard, conn) // until its end
	to.Received += n
	return err
}
