// Package setting reads the settings of functions, apps and nodes from flags, and
// shows which limits are in force and where each comes from.
package setting
