package project

import "bytes"

// errorCodes finds a word for what an engine says went wrong. Its texts quote
// command lines, paths and the output of helpers, so only the word is shown.
// The first phrase found decides; phrases are in lower case, as is the text by
// then. They were taken from engine 20.10 to 28 and runc.
var errorCodes = []struct{ phrase, code string }{
	{"executable file not found", "executable_not_found"},
	{"port is already allocated", "port_in_use"},
	{"address already in use", "port_in_use"},
	{"exec format error", "exec_format"},
	{"cannot allocate memory", "out_of_memory"},
	{"oom-kill", "out_of_memory"},
	{"no space left on device", "no_space"},
	{"error mounting", "mount"},
	{"error while mounting", "mount"},
	{"permission denied", "permission_denied"},
	{"operation not permitted", "permission_denied"},
	{"no such file or directory", "not_found"},
	{"not a directory", "not_a_directory"},
	{"no such image", "no_such_image"},
	{"no suitable node", "no_suitable_node"},
	{"failed to initialize logging driver", "log_driver"},
	{"network", "network"},
	{"could not select device driver", "device"},
	{"deadline exceeded", "timeout"},
	{"timed out", "timeout"},
	{"non-zero exit", "non_zero_exit"},
	{"runtime", "runtime"},
}

// otherError is the code of a text with none of the phrases.
const otherError = "error"

// errorCode returns the code for a text in lower case.
func errorCode(text []byte) string {
	for _, known := range errorCodes {
		if bytes.Contains(text, []byte(known.phrase)) {
			return known.code
		}
	}
	return otherError
}
