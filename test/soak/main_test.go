package main

import (
	"os"
	"testing"

	"github.com/tallymanhq/tallyman/internal/testkit"
	"github.com/tallymanhq/tallyman/test/soak/inside"
)

// standIn makes this test program a stand-in for the agent.
const standIn = "TALLYMAN_SOAK_STAND_IN"

func TestMain(m *testing.M) {
	if os.Getenv(standIn) == "" {
		testkit.Main(m)
	}
	if err := inside.Start(); err != nil {
		panic(err)
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test closes it
}
