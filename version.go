package picloud

import "time"

// Version is one immutable state of a function's code, counted from 1.
type Version struct {
	App       string    `json:"app"`
	Function  string    `json:"function"`
	Number    int       `json:"number"`
	Digest    Digest    `json:"digest"`
	Size      int       `json:"size"` // of the source, in bytes
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}
