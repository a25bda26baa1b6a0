// Package judge decides whether a quantity that was measured again and again has
// grown, or only moves up and down.
//
// The values are one per lap: the median of the samples at the same phase of each
// lap. The first quarter of a run fills tables and is not judged. What follows grows
// if both hold:
//
//   - The trend is no chance. Kendall's test counts pairs of laps in which the later
//     one is higher less those in which it is lower; if the laps came in any order with
//     equal probability, so many or more of them had less than one chance in a hundred.
//     It looks at the order of values only, so that single outliers, which garbage
//     collection makes, do not matter, and it needs no distribution.
//   - It is large enough to matter: the median of the last quarter is above that of
//     the second quarter by more than a bound, which is given per quantity.
//
// A single step that stays, in the middle of a run, counts as a trend, too: whether it
// comes again is for a longer run to say.
//
// The slope told with it is Theil's and Sen's: the median of the slopes of all pairs.
//
// Concurrency: pure functions.
//
// Kernel needs: none.
package judge
