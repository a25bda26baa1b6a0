package project

// RuleAt returns the name of the rule that a place of an answer falls under,
// "object" for what has places below it, and "" for what no table mentions. A
// path consists of names and, for elements of a list, "[]".
func RuleAt(r *Rules, kind Kind, path []string) string {
	n := r.tables[kind]
	for _, step := range path {
		switch {
		case n.rule.read != nil:
			return n.rule.name
		case n.each != nil && (n.class == nil) == (step == "[]"):
			n = n.each
		case n.each != nil:
			return ""
		default:
			n = n.fields[step]
		}
		if n == nil {
			return ""
		}
	}
	if n.rule.read != nil {
		return n.rule.name
	}
	return "object"
}

// CheckTables loads a text of tables.
func CheckTables(text string) error {
	_, err := loadTables(text, map[string]bool{"swarm": true})
	return err
}
