// Package browser has only tests: they drive a real browser (Debian's chromium,
// through chromedp) over the recorder's web view, its HTTP API and its stores.
//
// The stores are the real ones and are filled as the pipeline would: a made-up
// Compose project, twelve minutes at one sample a second and then on, live, with
// the names of the telemetry contract. What is made up are the values (cast_test.go)
// and nothing between them and the screen.
//
// Without chromium the tests are skipped. TALLYMAN_SHOTS=DIR has them write a picture
// of every page into DIR, in light and dark, of a desktop and of a phone:
//
//	TALLYMAN_SHOTS=/tmp/shots go test -count=1 ./test/browser -run TestView
//
// TestFrames measures how smooth 200 live containers are and prints the figures.
//
// As root, chromium has a network of its own (testkit.StillNet): in that of the host
// it ends its requests whenever a container of another test comes or goes.
//
// Concurrency: none. Cost: a browser process of some 300 MB. Kernel needs: none.
package browser
