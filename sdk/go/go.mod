module hotshoe

go 1.25
