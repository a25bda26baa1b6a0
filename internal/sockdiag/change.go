package sockdiag

// What the kernel has counted as received may have one byte too many. Its dump reads
// the state of a socket first, and the counters a moment later: the peer's FIN, which
// is counted as a byte, may come in between. What was told cannot be taken back, so
// the last byte that has come is not told as long as it may be a FIN. It was none if
// a later look still sees the connection wait for its peer, for the FIN would have
// changed the state together with the counter, and nothing comes after it.

// begin takes what an Initial had before the first look, which is taken then.
func (k *Change) begin(c *Conn) {
	if k.Initial {
		k.Sent, k.SentBefore = c.Sent, c.Sent
		k.Retransmits, k.RetransmitsBefore = c.Retransmits, uint64(c.Retransmits)
		k.initial = c.counted()
	}
}

// update takes the counters of now. The kernel's never fall, and what was told stays.
func (k *Change) update(c *Conn) {
	was, received := k.Conn, k.payload(c)
	k.Conn = *c
	k.Sent = max(c.Sent, was.Sent)
	k.Retransmits = max(c.Retransmits, was.Retransmits)
	k.Incoming = c.Incoming || was.Incoming // also if its listener has gone since
	k.SentSince = k.Sent - was.Sent
	k.RetransmitsSince = uint64(k.Retransmits - was.Retransmits)
	k.Received = was.Received
	k.receive(received)
}

// end tells what is left when no look will come any more: that the last look was just
// when the FIN came is less likely than that its last byte was payload.
func (k *Change) end() {
	k.still()
	if k.State.awaitsPeer() {
		k.receive(k.counted)
	}
}

// still is without a look: nothing has come.
func (k *Change) still() { k.SentSince, k.ReceivedSince, k.RetransmitsSince = 0, 0, 0 }

// receive has Received rise to what is known to be payload. Of that, what an Initial
// had came before the first look, also if it is told apart from a FIN only now.
func (k *Change) receive(payload uint64) {
	was := k.Received - k.ReceivedBefore
	k.Received = max(k.Received, payload)
	k.ReceivedBefore = min(k.Received, k.initial)
	k.ReceivedSince = k.Received - k.ReceivedBefore - was
}

// payload is how much of what was received is no FIN for certain.
func (k *Change) payload(c *Conn) uint64 {
	last := k.counted
	k.counted = max(last, c.counted())
	switch {
	case k.counted == 0:
		return 0
	case c.State.peerIsDone() || k.counted > last:
		return k.counted - 1
	case c.State.awaitsPeer():
		return k.counted
	}
	return k.Received // it was closed meanwhile, and the byte may be a FIN still
}

// counted is what the kernel has counted as received, as it says itself.
func (c *Conn) counted() uint64 {
	if c.State.peerIsDone() {
		return c.Received + 1
	}
	return c.Received
}
