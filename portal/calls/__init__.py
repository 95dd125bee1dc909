"""Single calls: find one by its id, see everything that was booked for it, correct it."""
