module component

go 1.25

require hotshoe v0.0.0

// `hotshoe build` makes it, of `hotshoe-sdk/go` and the WIT files. It is named here for editors.
replace hotshoe => ./.hotshoe/{{name}}/go
