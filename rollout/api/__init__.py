"""The types that came over the wire: views of the fields we read, no logic but defaults."""
