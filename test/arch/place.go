package arch

import (
	"slices"
	"strings"
)

// room is what a folder is for, as far as the rules tell folders apart.
type room int

const (
	otherRoom room = iota
	componentRoom
	internalRoom
	commandRoom
	testRoom
)

// place is the room of a folder and who in it: the component with its kind
// ("receiver/cgroupreceiver") or the first folder below internal or cmd.
type place struct {
	room room
	name string
}

// componentKinds are the folders whose children are components.
func componentKinds() []string {
	return []string{"receiver", "processor", "exporter", "extension"}
}

// placeOf classifies a folder below the root. What a component keeps in its
// own internal folder belongs to the component, not to internal/.
func placeOf(dir string) place {
	first, rest, _ := strings.Cut(dir, "/")
	second, _, _ := strings.Cut(rest, "/")
	switch {
	case slices.Contains(componentKinds(), first) && second != "":
		return place{componentRoom, first + "/" + second}
	case first == "internal" && second != "":
		return place{internalRoom, second}
	case first == "cmd" && second != "":
		return place{commandRoom, second}
	case first == "test":
		return place{testRoom, second}
	}
	return place{otherRoom, dir}
}

func (f *File) place() place { return placeOf(f.dir()) }

// within tells whether an import path is base or lies below it.
func within(importPath, base string) bool {
	return importPath == base || strings.HasPrefix(importPath, base+"/")
}

// inStandardLibrary follows the go command: only the standard library has a
// first path element without a dot. The module itself is asked about before.
func inStandardLibrary(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}
