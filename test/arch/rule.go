package arch

import (
	"cmp"
	"fmt"
	"slices"
)

// Violation is one place that breaks a rule.
type Violation struct {
	// File is the path below the root of the module, with slashes.
	File string
	// Line counts from 1; it is 1 where the file as a whole is meant.
	Line int
	// Rule is the name of the broken [Rule].
	Rule string
	// Detail says what is wrong and, where it is not obvious, what is right.
	Detail string
}

// String formats the violation as `file:line: rule: detail`, the form that
// editors turn into a link.
func (v Violation) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", v.File, v.Line, v.Rule, v.Detail)
}

// Rule is one named check.
type Rule struct {
	// Name is short, lower case, and the same as in [Violation].
	Name string

	check func(*Tree, report)
}

// report takes one finding of a rule; line counts from 1.
type report func(file string, line int, format string, args ...any)

// Check returns what breaks the rule in tree, ordered by file and line.
func (r Rule) Check(tree *Tree) []Violation {
	var found []Violation
	r.check(tree, func(file string, line int, format string, args ...any) {
		found = append(found, Violation{File: file, Line: line, Rule: r.Name, Detail: fmt.Sprintf(format, args...)})
	})
	slices.SortStableFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return found
}

// Rules returns every rule of the repository.
func Rules() []Rule {
	return []Rule{
		{"parse", checkParse},
		{"imports", checkImports},
		{"pdata", checkPdata},
		{"testkit", checkTestkit},
		{"package-doc", checkPackageDoc},
		{"exported-doc", checkExportedDoc},
		{"file-length", checkFileLength},
		{"func-length", checkFuncLength},
		{"parameters", checkParameters},
		{"complexity", checkComplexity},
		{"init", checkInit},
		{"state", checkState},
		{"error-text", checkErrorText},
		{"sleep", checkSleep},
		{"skip", checkSkip},
		{"runtime-setter", checkRuntimeSetter},
		{"component-rooms", checkComponentRooms},
		{"links", checkLinks},
	}
}
