// Package configfile reads what the agent's own configuration says of discovery,
// for who wants to know what would come of it, and shows configurations.
//
// [Load] merges files as the Collector does: the later one wins key by key, lists
// are replaced. Keys that nobody knows are errors that name them, for the receiver
// and the top of the file; other components' settings are not looked at.
// ${env:X}, ${file:X} and ${yaml:X} are replaced as the Collector does it, but not
// within the config and resource_attributes of a rule: there secrets are, and they
// stay as they are written. Variables are those of this process, which need not be
// the agent's; [File.Unset] has those that it lacks.
//
// [Masked] takes what looks like a secret out of a configuration that is to be
// shown, and [Text] writes it as people do. [Receivers] asks an agent which
// receivers it has.
//
// All functions may be called from any goroutine.
//
// Kernel needs: none.
package configfile
