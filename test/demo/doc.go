// Command demo shows the agent at work: it starts a few containers that each
// make one figure worth looking at, starts the agent, prints what the agent
// says about them, and takes everything away again on Ctrl-C.
//
//	go run ./test/demo             until Ctrl-C (make demo)
//	go run ./test/demo -check      compare the agent's figures with the engine's, exit 0 or 1
//	go run ./test/demo -no-agent   only the containers, for an agent started by hand
//
// It uses the Docker engine of this host. Where none answers it starts one of
// its own, as root, with everything it keeps below .tallyman/demo.
//
// Cost: a quarter of a CPU, about 80 MB of memory and 5 MB/s of disk writes
// into 16 MB of files. Needs the static busybox; asks no registry.
package main
