package main

import (
	"bytes"
	"io"
	"os"
	"strings"
)

// console keeps what a machine prints in a file, and shows results of tests while it runs.
type console struct {
	name string
	file *os.File
	out  io.Writer
	all  bool // show everything
}

func openConsole(name string, out io.Writer, all bool) (*console, error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &console{name: name, file: file, out: out, all: all}, nil
}

// Write takes whole lines.
func (c *console) Write(text []byte) (int, error) {
	if c.all || bytes.HasPrefix(text, []byte("--- ")) {
		_, _ = c.out.Write(text) // the file is what counts
	}
	return c.file.Write(text)
}

// Close ends the file.
func (c *console) Close() error { return c.file.Close() }

// printTail prints the last lines of the file.
func (c *console) printTail(lines int) error {
	text, err := os.ReadFile(c.name)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("(nothing; the flag -v shows how the machine boots)\n")
	}
	all := strings.SplitAfter(string(text), "\n")
	_, err = io.WriteString(c.out, "\nend of "+c.name+":\n"+strings.Join(all[max(0, len(all)-lines):], ""))
	return err
}
