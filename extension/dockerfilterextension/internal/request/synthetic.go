package request

// syntheticHead returns the head that net/http sees in place of the client's.
// It has no more than what decides about the form of the answer: whether it
// has a body, its HTTP version, and whether the connection goes on.
func syntheticHead(r *Request) string {
	switch {
	case r.Head && r.HTTP10 && r.Close:
		return "HEAD / HTTP/1.0\r\nHost: docker\r\n\r\n"
	case r.Head && r.HTTP10:
		return "HEAD / HTTP/1.0\r\nHost: docker\r\nConnection: keep-alive\r\n\r\n"
	case r.Head && r.Close:
		return "HEAD / HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"
	case r.Head:
		return "HEAD / HTTP/1.1\r\nHost: docker\r\n\r\n"
	case r.HTTP10 && r.Close:
		return "GET / HTTP/1.0\r\nHost: docker\r\n\r\n"
	case r.HTTP10:
		return "GET / HTTP/1.0\r\nHost: docker\r\nConnection: keep-alive\r\n\r\n"
	case r.Close:
		return "GET / HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"
	}
	return "GET / HTTP/1.1\r\nHost: docker\r\n\r\n"
}
