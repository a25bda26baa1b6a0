// Package guest holds the tests that run inside the machine of test/vm/docker: a Debian with systemd, Docker with the
// systemd cgroup driver, and the built agent as a unit of systemd. It has no code of its own. Files that end in
// _vm_test.go carry the build tag vmdocker, because they change the machine they run on; what they are made of (reading
// the agent's page, the kernel's files, systemd's answers, and comparing them) is tested everywhere.
//
// Promise: nothing but the kernel, the engine and systemd is shared with the agent's code; only the test kit is imported.
//
// Concurrency: tests that start and stop the agent run one after the other, the rest beside each other once those are
// done. Each takes the machine as it is, makes sure that the agent runs, and looks only at containers of its own.
//
// Cost: three minutes under emulation, half of them waiting for a container to leave the page.
//
// Kernel and privileges: root, cgroup v2 alone, Linux 5.19 (memory.peak), pressure information.
package guest
