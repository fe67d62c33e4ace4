//! Places the labels of points in a chart so that no label covers another label or a point.

use std::ops::Range;

/// Width of a character of the label font, a little more than the average.
const CHARACTER: f64 = 6.6;
/// Height of a line.
const LINE: f64 = 11.0;
/// Distance between a point and its label.
const GAP: f64 = 3.0;

/// A point with a label, which may be empty.
pub struct Mark {
    /// Horizontal centre.
    pub x: f64,
    /// Vertical centre.
    pub y: f64,
    /// Its radius.
    pub radius: f64,
    /// Its label.
    pub label: String,
}

/// A rectangle: left, top, right, bottom.
#[derive(Clone, Copy, Debug)]
struct Area {
    x: (f64, f64),
    y: (f64, f64),
}

impl Area {
    fn overlaps(&self, other: &Area) -> bool {
        let apart = |a: (f64, f64), b: (f64, f64)| a.1 <= b.0 || b.1 <= a.0;
        !apart(self.x, other.x) && !apart(self.y, other.y)
    }
}

/// The left end of the base line and the text of each label that fits within the ranges, beside its point. Labels of earlier
/// points have priority.
pub fn place(marks: &[Mark], width: Range<f64>, height: Range<f64>) -> Vec<(f64, f64, String)> {
    let mut taken: Vec<Area> =
        marks.iter().map(|m| Area { x: (m.x - m.radius, m.x + m.radius), y: (m.y - m.radius, m.y + m.radius) }).collect();
    let mut placed = Vec::new();
    for mark in marks.iter().filter(|mark| !mark.label.is_empty()) {
        let wide = CHARACTER * mark.label.chars().count() as f64;
        let (away, middle) = (mark.radius + GAP, LINE / 2.0);
        let corners = [
            (mark.x + away, mark.y - middle),
            (mark.x - away - wide, mark.y - middle),
            (mark.x - wide / 2.0, mark.y - away - LINE),
            (mark.x - wide / 2.0, mark.y + away),
            (mark.x + away * 0.7, mark.y - away * 0.7 - LINE),
            (mark.x + away * 0.7, mark.y + away * 0.7),
            (mark.x - away * 0.7 - wide, mark.y - away * 0.7 - LINE),
            (mark.x - away * 0.7 - wide, mark.y + away * 0.7),
        ];
        let free = corners.into_iter().map(|(x, y)| Area { x: (x, x + wide), y: (y, y + LINE) }).find(|own| {
            let inside = width.start <= own.x.0 && own.x.1 <= width.end && height.start <= own.y.0 && own.y.1 <= height.end;
            inside && !taken.iter().any(|other| own.overlaps(other))
        });
        if let Some(own) = free {
            taken.push(own);
            placed.push((own.x.0, own.y.1 - 2.0, mark.label.clone()));
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_apart() {
        // A crowd of points with too little room for labels.
        let mark = |i: usize| Mark {
            x: 40.0 + (i * 7 % 30) as f64,
            y: 40.0 + (i * 11 % 30) as f64,
            radius: 3.0,
            label: format!("#{i}"),
        };
        let marks: Vec<Mark> = (0..30).map(mark).collect();
        let placed = place(&marks, 0.0..100.0, 0.0..100.0);
        assert!(!placed.is_empty() && placed.len() < marks.len(), "{placed:?}");
        let boxes: Vec<Area> = placed
            .iter()
            .map(|(x, y, label)| Area { x: (*x, x + CHARACTER * label.len() as f64), y: (y + 2.0 - LINE, y + 2.0) })
            .collect();
        for (i, a) in boxes.iter().enumerate() {
            assert!(a.x.0 >= 0.0 && a.x.1 <= 100.0 && a.y.0 >= 0.0 && a.y.1 <= 100.0);
            assert!(boxes[..i].iter().all(|b| !a.overlaps(b)), "{placed:?}");
            assert!(marks.iter().all(|m| !a.overlaps(&Area { x: (m.x - 2.9, m.x + 2.9), y: (m.y - 2.9, m.y + 2.9) })));
        }
        // The label of a single point is on its right.
        let alone = [Mark { x: 50.0, y: 50.0, radius: 4.0, label: "a".to_string() }];
        assert_eq!(place(&alone, 0.0..100.0, 0.0..100.0), [(57.0, 53.5, "a".to_string())]);
    }
}
